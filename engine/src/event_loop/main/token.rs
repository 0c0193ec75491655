//! The names of the poller's events.

/// Renderers that want to be let in.
pub(super) const LISTENER: u64 = u64::MAX;

/// What a token stands for, beside a place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    ControlChannel = 0,
    Bell = 1,
    Process = 2,
    /// The place is in the inspectors' table.
    Inspector = 3,
}

pub(super) fn token(place: usize, kind: TokenKind) -> u64 {
    (place as u64) << 2 | kind as u64
}

/// Splits a token of a connection or an inspector.
pub(super) fn parse(token: u64) -> (usize, TokenKind) {
    let kind = match token & 3 {
        0 => TokenKind::ControlChannel,
        1 => TokenKind::Bell,
        2 => TokenKind::Process,
        _ => TokenKind::Inspector,
    };
    ((token >> 2) as usize, kind)
}
