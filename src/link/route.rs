//! The short way: from the session to its socket's [`Transport`].

use super::Link;
use crate::error::Error;
use crate::transport::{Mark, Transport};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

/// How a session reaches its peer.
pub struct Route {
    /// Weak, as the transport holds its sessions.
    transport: Weak<RefCell<Transport>>,
    to: SocketAddr,
    mark: Cell<Mark>,
}

impl Route {
    /// A way by this transport to this address.
    pub fn new(transport: &Rc<RefCell<Transport>>, to: SocketAddr) -> Route {
        Route { transport: Rc::downgrade(transport), to, mark: Cell::default() }
    }
}

/// What a message has come to.
pub enum Posted {
    /// It is on its way.
    Sent,
    /// The session cannot send it.
    Failed(Error),
    /// The socket did not take this datagram.
    Refused(Bytes, io::Error),
}

impl Link {
    /// Gives the session a way, or takes it away.
    pub fn set_route(&self, route: Option<Route>) {
        self.route.replace(route);
    }

    /// Seals a message and sends it, or gathers it with others unless it is wanted `at_once`; `None` where there
    /// is no way but Lua's.
    pub fn post(&self, message: &[u8], at_once: bool) -> Option<Posted> {
        let route = self.route.borrow();
        let route = route.as_ref()?;
        let transport = route.transport.upgrade()?;
        Some(match self.session.borrow_mut().send(message) {
            Err(error) => Posted::Failed(error),
            Ok(datagram) => {
                let mut transport = transport.borrow_mut();
                let sent = match at_once {
                    true => transport.send_at_once(route.to, &datagram),
                    false => transport.send_along(route.to, &route.mark, &datagram),
                };
                sent.map_or_else(|error| Posted::Refused(datagram, error), |()| Posted::Sent)
            }
        })
    }
}
