//! Application-Layer Protocol Negotiation (RFC 7301): the client offers what it wants to speak inside,
//! the server takes what it likes best of that.

use crate::config::Refusal;
use crate::context::unexpected;
use crate::desk::Desk;
use crate::error::{Error, Name};
use crate::hello::take_u8_list;
use openssl::ssl::{AlpnError, SslContextBuilder};

/// What a list may fill. The hello that carries it has to be kept by the server before it knows the
/// client, and ours keeps no more than 6 KiB.
const LONGEST_LIST: usize = 2048;

/// Lets the clients of a context offer these protocols, and its servers take the one that lies on
/// their desk.
///
/// # Errors
///
/// A [`Refusal`] of names that cannot be.
pub fn install(builder: &mut SslContextBuilder, protocols: &[Vec<u8>]) -> Result<(), Refusal> {
    if protocols.is_empty() {
        return Ok(());
    }
    let refuse = |sentence: String| Err(Refusal::new("alpn_protocols", sentence));
    let mut list = Vec::new();
    for name in protocols {
        match u8::try_from(name.len()) {
            Ok(length @ 1..) => list.push(length),
            _ => return refuse(format!("must hold names of 1 to 255 bytes, got one of {}", name.len())),
        }
        list.extend_from_slice(name);
    }
    if list.len() > LONGEST_LIST {
        return refuse(format!("must fit {LONGEST_LIST} bytes together, got {}", list.len()));
    }
    builder.set_alpn_protos(&list).map_err(|e| unexpected(&e))?;
    builder.set_alpn_select_callback(|ssl, offered| {
        let chosen = Desk::of(ssl).papers().alpn_protocol.clone();
        let same = |name: &&[u8]| Some(*name) == chosen.as_deref();
        names(offered).find(same).ok_or(AlpnError::NOACK)
    });
    Ok(())
}

/// The names of a ProtocolNameList, without the length in front.
fn names(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || take_u8_list(&mut list))
}

/// The first of a server's own protocols that is offered. None where the server has none, or the
/// client offers none: then they understand each other without that.
///
/// # Errors
///
/// [`Name::ApplicationProtocol`] where the client offers others alone (RFC 7301 section 3.2).
pub fn choose(ours: &[Vec<u8>], offered: &[Vec<u8>]) -> Result<Option<Vec<u8>>, Error> {
    if ours.is_empty() || offered.is_empty() {
        return Ok(None);
    }
    let chosen = ours.iter().find(|name| offered.contains(name)).cloned();
    chosen.map(Some).ok_or_else(|| {
        let sentence = format!("the client offers {}, and we speak {}", listed(offered), listed(ours));
        Error::new(Name::ApplicationProtocol, sentence)
    })
}

/// The first few of a list, for a sentence.
fn listed(protocols: &[Vec<u8>]) -> String {
    const ENOUGH: usize = 5;
    let quoted = |name: &Vec<u8>| format!("'{}'", name.escape_ascii());
    let mut words: Vec<_> = protocols.iter().take(ENOUGH).map(quoted).collect();
    if protocols.len() > ENOUGH {
        words.push("…".to_owned());
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_servers_order_decides() {
        let chosen = choose(&list(&["coap", "mqtt", "x"]), &list(&["x", "mqtt"])).unwrap();
        assert_eq!(chosen.as_deref(), Some(&b"mqtt"[..]));
    }

    #[test]
    fn nothing_is_chosen_where_one_end_has_no_list() {
        assert_eq!(choose(&list(&["coap"]), &[]), Ok(None));
        assert_eq!(choose(&[], &list(&["coap"])), Ok(None));
    }

    #[test]
    fn a_refusal_names_a_few_of_what_was_offered() {
        let offered = list(&["a", "b\n", "c", "d", "e", "f", "g"]);
        let error = choose(&list(&["coap"]), &offered).unwrap_err();
        let sentence = "the client offers 'a', 'b\\n', 'c', 'd', 'e', …, and we speak 'coap'";
        assert_eq!((error.name, error.sentence.as_str()), (Name::ApplicationProtocol, sentence));
    }
}
