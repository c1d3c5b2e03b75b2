use super::*;
use std::net::UdpSocket;

fn terms(local: &str) -> Terms {
    Terms {
        local: local.parse().unwrap(),
        peer: None,
        shared: false,
        ipv6_only: false,
        ttl: None,
        recv_buffer_size: None,
        send_buffer_size: None,
    }
}

fn made(terms: &Terms) -> UdpSocket {
    open(terms).unwrap().into()
}

fn refusal(terms: &Terms) -> i32 {
    open(terms).unwrap_err().raw_os_error().unwrap()
}

#[test]
fn addresses_have_scopes() {
    assert_eq!(read_address("::1", 7), Some("[::1]:7".parse().unwrap()));
    assert_eq!(read_address("fe80::1%3", 7), Some("[fe80::1%3]:7".parse().unwrap()));
    let Some(SocketAddr::V6(scoped)) = read_address("fe80::1%lo", 7) else { panic!("no address") };
    assert_ne!(scoped.scope_id(), 0);
    for none in ["", "localhost", "fe80::1%nowhere", "127.0.0.1%lo", "fe80::1%"] {
        assert_eq!(read_address(none, 7), None, "{none}");
    }
}

#[test]
fn addresses_are_written_as_libuv_writes_them() {
    for text in
        ["127.0.0.1", "::", "::1", "::ffff:192.0.2.1", "::0.0.0.2", "::192.0.2.1", "2001:db8::1:0:0:1"]
    {
        assert_eq!(write_ip(read_address(text, 0).unwrap().ip()), text);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_socket_does_not_wait_and_is_not_inherited() {
    let socket = open(&terms("127.0.0.1:0")).unwrap();
    let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", socket.as_raw_fd())).unwrap();
    let flags = about.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
    assert_ne!(flags & libc::O_CLOEXEC, 0);
    assert_ne!(flags & libc::O_NONBLOCK, 0);
}

#[test]
fn a_port_is_shared_by_those_who_all_want_it() {
    let shared = Terms { shared: true, ..terms("127.0.0.1:0") };
    let first = made(&shared);
    let local = first.local_addr().unwrap();
    let second = open(&Terms { local, ..shared });
    assert!(second.is_ok());
    assert_eq!(refusal(&terms(&local.to_string())), libc::EADDRINUSE);
}

#[test]
fn a_port_that_libuv_was_given_is_nobody_elses() {
    let first = made(&terms("127.0.0.1:0"));
    let local = first.local_addr().unwrap();
    // What libuv does to a descriptor, and what anybody may do to theirs.
    ffi::set_option(first.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).unwrap();
    let bind = || {
        let other = ffi::udp_socket(libc::AF_INET).unwrap();
        ffi::set_option(other.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).unwrap();
        ffi::bind(&other, &local)
    };
    if cfg!(target_os = "linux") {
        assert!(bind().is_ok());
    }
    keep_to_user(first.as_raw_fd()).unwrap();
    assert!(bind().is_err());
}

#[test]
fn ipv6_may_be_dual_or_not() {
    let dual = made(&terms("[::]:0"));
    let port = dual.local_addr().unwrap().port();
    assert!(UdpSocket::bind(("127.0.0.1", port)).is_err());
    // The IPv4 port may be somebody else's, but not every time.
    assert!((0..20).any(|_| {
        let alone = made(&Terms { ipv6_only: true, ..terms("[::]:0") });
        UdpSocket::bind(("127.0.0.1", alone.local_addr().unwrap().port())).is_ok()
    }));
}

#[test]
fn a_ttl_is_that_of_both_families() {
    let dual = made(&Terms { ttl: Some(9), ..terms("[::]:0") });
    assert_eq!(dual.ttl().unwrap(), 9);
    let v4 = made(&Terms { ttl: Some(7), ..terms("127.0.0.1:0") });
    assert_eq!(v4.ttl().unwrap(), 7);
}

#[test]
fn a_peers_socket_hears_its_peer_alone_once_it_is_connected() {
    let listening = Terms { shared: true, ..terms("127.0.0.1:0") };
    let listener = made(&listening);
    let local = listener.local_addr().unwrap();
    let (peer, other) = (made(&terms("127.0.0.1:0")), made(&terms("127.0.0.1:0")));
    let own = made(&Terms { local, peer: Some(peer.local_addr().unwrap()), ..listening });
    peer.send_to(b"mine", local).unwrap();
    other.send_to(b"not mine", local).unwrap();
    let from = |socket: &UdpSocket| (socket.local_addr().unwrap().ip(), socket.local_addr().unwrap().port());
    let (ip, port) = from(&peer);
    assert_eq!(take(own.as_raw_fd()), Some((b"mine".to_vec(), ip, port)));
    assert_eq!(take(own.as_raw_fd()), None);
    let (ip, port) = from(&other);
    assert_eq!(take(listener.as_raw_fd()), Some((b"not mine".to_vec(), ip, port)));
    own.send(b"yours").unwrap();
    assert_eq!(take(peer.as_raw_fd()), Some((b"yours".to_vec(), local.ip(), local.port())));
}

#[test]
fn what_a_refusal_leaves_behind_does_not_hide_a_datagram() {
    let peer = made(&terms("127.0.0.1:0"));
    let own = made(&Terms { peer: Some(peer.local_addr().unwrap()), ..terms("127.0.0.1:0") });
    let local = peer.local_addr().unwrap();
    drop(peer);
    own.send(b"refused").unwrap();
    let again = made(&terms(&local.to_string()));
    again.send_to(b"heard", own.local_addr().unwrap()).unwrap();
    assert_eq!(take(own.as_raw_fd()).unwrap().0, b"heard");
}

#[test]
fn some_descriptors_are_left_to_others() {
    assert_eq!([1024, 20000, 64, 8].map(reserve), [64, 1250, 16, 8]);
}
