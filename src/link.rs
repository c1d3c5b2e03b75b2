//! A session, and the way to its peer where that is shorter than the one by Lua.

use crate::session::Session;
use std::cell::RefCell;

#[cfg(batches)]
mod route;

#[cfg(batches)]
pub use route::{Posted, Route};

/// A session that a transport may know by its peer's address.
pub struct Link {
    /// The session.
    pub session: RefCell<Session>,
    /// `None` where its datagrams go by Lua.
    #[cfg(batches)]
    route: RefCell<Option<Route>>,
}

impl Link {
    /// A session without a way of its own.
    pub fn new(session: Session) -> Link {
        Link {
            session: RefCell::new(session),
            #[cfg(batches)]
            route: RefCell::new(None),
        }
    }
}
