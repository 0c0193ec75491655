//! The backend as a whole, and what its tests share.

pub(super) mod other_process;

use crate::{Backend, BindError, Config, ContractError, IpcMain, endpoints};

#[test]
fn isolation_that_the_portable_backend_lacks_is_refused_before_anything_is_made() {
    let name = format!("test-no-isolation-{}", std::process::id());
    let config =
        Config { backend: Backend::Portable, require_isolation: true, ..Config::default() };
    let refused = IpcMain::bind_with(&name, &[], config).map(drop);
    assert!(matches!(refused, Err(BindError::Contract(ContractError::NoIsolation))), "{refused:?}");
    assert!(endpoints().unwrap().iter().all(|endpoint| endpoint.name != name));
}
