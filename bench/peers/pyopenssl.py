#!/usr/bin/env python3
"""pyopenssl.py HOST PORT CERT KEY: an echo server on pyOpenSSL, one system call a datagram."""

import hmac
import socket
import sys

from OpenSSL import SSL

SECRET = bytes(32)


def main(host, port, cert, key):
    context = make_context(cert, key)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, int(port)))
    print(f'listening on {host} port {sock.getsockname()[1]}', flush=True)
    sessions = {}
    while True:
        datagram, peer = sock.recvfrom(65536)
        session = sessions.get(peer)
        is_stranger = session is None
        if is_stranger:
            session = SSL.Connection(context)
            session.set_app_data(peer)
            session.set_accept_state()
            session.set_ciphertext_mtu(1200)
        session.bio_write(datagram)
        stays = receive(session, is_stranger)
        try:
            sock.sendto(session.bio_read(65536), peer)
        except SSL.WantReadError:
            pass
        if not stays:
            sessions.pop(peer, None)
        elif is_stranger:
            sessions[peer] = session


def make_context(cert, key):
    context = SSL.Context(SSL.DTLS_SERVER_METHOD)
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_COOKIE_EXCHANGE | SSL.OP_NO_RENEGOTIATION)
    context.use_certificate_chain_file(cert)
    context.use_privatekey_file(key)
    context.set_cookie_generate_callback(cookie)
    context.set_cookie_verify_callback(lambda session, given: hmac.compare_digest(given, cookie(session)))
    return context


def cookie(session):
    return hmac.digest(SECRET, repr(session.get_app_data()).encode(), 'sha256')


def receive(session, is_stranger):
    """Takes what has been written to a session. Says whether it goes on."""
    try:
        if is_stranger:
            session.DTLSv1_listen()
        while True:
            session.send(session.recv(65536))
    except SSL.WantReadError:
        # DTLSv1_listen(3) says the same of a hello that had no cookie.
        return not is_stranger or session.get_state_string() != b'before SSL initialization'
    except SSL.Error:
        return False


if __name__ == '__main__':
    main(*sys.argv[1:])
