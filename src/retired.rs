//! What complete handshakes leave behind in their sessions: 30 KiB, of which OpenSSL reads nothing again.
//!
//! OpenSSL keeps its handshake's buffer for a session's whole life, because the last flight may have to be
//! repeated, and the two buffers of the BIO that gathered the flights, because a record layer that is kept for
//! the same reason still refers to it. Their contents can go (`blocks::discard`) once a handshake is complete,
//! since whatever is read there afterwards has been written there before, within one call into OpenSSL. In the
//! source of OpenSSL 3.6.3:
//!
//! - `init_buf` is used by `dtls1_retransmit_message`, which copies a message of the last flight into it before
//!   `dtls1_do_write` reads it (statem_dtls.c:1218); and by the state machine, if the peer begins another
//!   handshake (rec_layer_d1.c:544). That reads each message into it whole, out of one record or of fragments that
//!   it has kept elsewhere, before it looks at it (statem_dtls.c:844, 582), and refuses (statem_srvr.c:1666,
//!   statem_clnt.c:4087). SSL_free(3) wipes it (ssl_lib.c:1464, buffer.c:46).
//! - The BIO has been flushed and taken out of the chain (statem_lib.c:1459, ssl_lib.c:5358), so that nothing more is
//!   written to it. The record layer of epoch 0 exchanges it for the one in use before it repeats anything
//!   (statem_dtls.c:1241); with that, or with the session, both buffers are freed unread (bf_buff.c:71).
//!
//! They do not go at once. It takes a session ten microseconds to have them taken and to have OpenSSL wipe them
//! when it ends, pages and all, and many a session ends as soon as it has begun. So the last few of a context
//! keep theirs.
//!
//! A context's own, not the process's: a context and all its sessions belong to one Lua state, so that nobody
//! is at work on another session of its while one becomes complete.

use crate::ffi::blocks::{self, Leavings};
use std::cell::RefCell;
use std::collections::VecDeque;

/// How many sessions keep what their handshake has left behind: half a megabyte.
const MOST: usize = 16;

/// What the last sessions of a context to become complete have left behind, the oldest first.
#[derive(Default)]
pub struct Retired(RefCell<VecDeque<Leavings>>);

impl Retired {
    /// Takes what another leaves behind, whose handshake is complete.
    pub fn add(&self, leavings: Leavings) {
        let mut retired = self.0.borrow_mut();
        retired.push_back(leavings);
        if retired.len() > MOST {
            retired.pop_front().into_iter().for_each(blocks::discard);
        }
    }
}
