// What a preload script is in Electron: it gives the page `window.electron`, and nothing else of the way to main.
//
//   electron.send(channel, value)                one way
//   electron.invoke(channel, value)              a Promise
//   electron.on(channel, listener)               returns a function that takes the listener away again
//   electron.once, electron.removeListener (off), electron.removeAllListeners
//
// A listener gets the value, and how many messages came since the last one that it saw: pushes come at the pace of
// the page's frames, and only the newest of those between two frames. Which channels there are is decided by the
// renderer process, and enforced by main.
//
// `window.ringbridge` tells a dashboard what Electron has no word for: whether there is a session with main, what the
// policy allows, what the renderer process measures.
"use strict";

(() => {
  /** How many messages may wait for the first connection. */
  const WAITING_MAX = 64;
  /** Between two attempts to reach the renderer process, in milliseconds: the first, and the longest. */
  const AGAIN_MS = [250, 4000];
  const TOKEN_KEY = "ringbridge-token";

  const token = takeToken();
  const listeners = new Map(); // channel -> [{ listener, once }]
  const invokes = new Map(); // id -> { channel, resolve, reject }
  const watchers = { state: [], meters: [], error: [] };
  const state = { link: "connecting", why: "", session: null };
  let socket = null;
  let waiting = []; // what was said before there was a connection
  let nextId = 0;
  let againMs = AGAIN_MS[0];

  // --- the address's token ---------------------------------------------------------------------------

  /** It stays in this tab and for this server, and goes out of the address bar. */
  function takeToken() {
    const given = location.hash.slice(1);
    if (/^[0-9a-f]{64}$/.test(given)) {
      sessionStorage.setItem(TOKEN_KEY, given);
      history.replaceState(null, "", location.pathname);
    }
    return sessionStorage.getItem(TOKEN_KEY);
  }

  // The whole address was put into a tab that has this page already.
  addEventListener("hashchange", () => {
    if (takeToken() !== token) location.reload();
  });

  // --- the connection --------------------------------------------------------------------------------

  function connect() {
    if (token === null) {
      change({ link: "refused", why: "open the address that renderer-proc printed" });
      return;
    }
    socket = new WebSocket(`ws://${location.host}/socket`, ["ringbridge", token]);
    socket.onopen = () => {
      againMs = AGAIN_MS[0];
      for (const channel of listeners.keys()) tell({ type: "on", channel });
      for (const message of waiting) tell(message);
      waiting = [];
      requestAnimationFrame(() => tell({ type: "frame" }));
    };
    socket.onmessage = ({ data }) => hear(JSON.parse(data));
    socket.onclose = ({ reason }) => {
      waiting = [];
      for (const [id, invoke] of invokes) {
        invokes.delete(id);
        invoke.reject(failure(invoke.channel, "Error: the renderer process is gone"));
      }
      change({ link: "closed", why: reason, session: null });
      setTimeout(connect, againMs);
      againMs = Math.min(2 * againMs, AGAIN_MS[1]);
    };
  }

  function tell(message) {
    if (socket !== null && socket.readyState === WebSocket.OPEN) {
      socket.send(JSON.stringify(message));
    } else if (state.link === "connecting" && waiting.length < WAITING_MAX) {
      if (message.type !== "on" && message.type !== "off") waiting.push(message);
    } else {
      return false;
    }
    return true;
  }

  function hear(message) {
    switch (message.type) {
      case "session":
        change({ link: "open", why: "", session: message.session });
        break;
      case "reply":
        settle(message);
        break;
      case "frame":
        // The next one comes when this one is drawn. In a hidden tab that may take long: good.
        requestAnimationFrame(() => draw(message));
        break;
      case "error":
        console.error(`${message.channel}: ${message.message}`);
        emit(watchers.error, message);
        break;
    }
  }

  function settle({ id, value, error }) {
    const invoke = invokes.get(id);
    invokes.delete(id);
    if (invoke === undefined) return;
    if (error === undefined) invoke.resolve(value);
    else invoke.reject(new Error(error));
  }

  function draw({ pushes, meters }) {
    // First of all, so that the next one is here in time.
    tell({ type: "frame" });
    for (const { channel, value, count } of pushes) {
      // As Node does it: those that were there when it came, and `once` is taken out before it runs.
      for (const entry of [...(listeners.get(channel) ?? [])]) {
        if (entry.once) remove(channel, entry);
        call(entry.listener, value, { count });
      }
    }
    if (meters !== null) emit(watchers.meters, meters);
  }

  function call(listener, ...values) {
    try {
      listener(...values);
    } catch (error) {
      reportError(error);
    }
  }

  function emit(watching, value) {
    for (const watcher of [...watching]) call(watcher, value);
  }

  function change(news) {
    Object.assign(state, news);
    emit(watchers.state, { ...state });
  }

  // --- window.electron -------------------------------------------------------------------------------

  function failure(channel, why) {
    return new Error(`Error invoking remote method '${channel}': ${why}`);
  }

  function checkChannel(channel) {
    if (typeof channel !== "string" || channel === "") throw new TypeError("Missing required channel argument");
  }

  function checkValues(values) {
    if (values.length > 1) throw new TypeError("a message is one value: put several into an array or an object");
    return values.length === 0 || values[0] === undefined ? null : values[0];
  }

  function add(channel, listener, once) {
    checkChannel(channel);
    if (typeof listener !== "function") throw new TypeError("The listener must be a function");
    const entry = { listener, once };
    const there = listeners.get(channel);
    if (there === undefined) {
      listeners.set(channel, [entry]);
      tell({ type: "on", channel });
    } else {
      there.push(entry);
    }
    return () => remove(channel, entry);
  }

  function remove(channel, entry) {
    const there = listeners.get(channel) ?? [];
    const at = there.indexOf(entry);
    if (at < 0) return;
    there.splice(at, 1);
    if (there.length === 0) removeAll(channel);
  }

  function removeAll(channel) {
    if (listeners.delete(channel)) tell({ type: "off", channel });
  }

  const electron = {
    send(channel, ...values) {
      checkChannel(channel);
      const value = checkValues(values);
      if (!tell({ type: "send", channel, value })) throw new Error(`cannot send on '${channel}': the renderer process is gone`);
    },

    async invoke(channel, ...values) {
      checkChannel(channel);
      const value = checkValues(values);
      const id = nextId;
      nextId = (nextId + 1) >>> 0;
      return new Promise((resolve, reject) => {
        invokes.set(id, { channel, resolve, reject });
        if (!tell({ type: "invoke", id, channel, value })) {
          invokes.delete(id);
          reject(failure(channel, "Error: the renderer process is gone"));
        }
      });
    },

    on: (channel, listener) => add(channel, listener, false),

    once: (channel, listener) => add(channel, listener, true),

    /** Takes the listener that was added last, if it was added more than once. */
    removeListener(channel, listener) {
      const entry = (listeners.get(channel) ?? []).findLast((entry) => entry.listener === listener);
      if (entry !== undefined) remove(channel, entry);
    },

    removeAllListeners(channel) {
      for (const name of channel === undefined ? [...listeners.keys()] : [channel]) removeAll(name);
    },
  };
  electron.off = electron.removeListener;

  /** Each returns a function that ends it. */
  function watch(watching, watcher) {
    watching.push(watcher);
    return () => watching.splice(watching.indexOf(watcher), 1);
  }

  const ringbridge = {
    /** Called at once and at every change, with `link` ("connecting", "open", "closed", "refused"), `why`, `session`. */
    onState(watcher) {
      const end = watch(watchers.state, watcher);
      call(watcher, { ...state });
      return end;
    },
    onMeters: (watcher) => watch(watchers.meters, watcher),
    onError: (watcher) => watch(watchers.error, watcher),
  };

  for (const [name, value] of Object.entries({ electron, ringbridge })) {
    Object.defineProperty(window, name, { value: Object.freeze(value), enumerable: true });
  }
  connect();
})();
