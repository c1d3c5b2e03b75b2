--- What `dtls-nc --help` prints: a screen of 24 lines and 80 columns, and no more.

return [[
dtls-nc HOST PORT         connect to a server; netcat for DTLS 1.2
dtls-nc -l [HOST] PORT    listen; standard input goes to every client
  -c FILE  -k FILE        own certificate and key in PEM (the key may lie in -c)
  -C FILE                 CAs to trust in PEM; with -l, ask for certificates
  --fingerprint SHA256    trust the peer whose certificate has this one
  --insecure              trust anybody
  --psk ID:HEX            pre-shared key; with ID:@FILE its digits are in FILE
  --servername NAME       the name that the server's certificate must be for
  --alpn LIST  --ciphers LIST  --mtu N    protocols, suites, datagram (256-4096)
  --datagram              send what each read brings, not lines: binary data
  --echo                  with -l, answer each message with itself
  --exec CMD              join each peer to `sh -c CMD` instead of the terminal
  --resume FILE           resume the session kept in FILE, and keep it there
  --keylog FILE           add the sessions' secrets to FILE, for Wireshark
  --source-port N         connect from this port     -4, -6  this family only
  -w SECONDS              give up connecting, and end after so long a silence
  -q SECONDS              how long a silence ends it once its input has ended:
                          1 by default, -1 for none
  -v, -vv, -vvv           tell who comes and goes; draw handshakes; all records
  --stats  --version      print the counters at the end; print the version
Status: 0 success, 1 refused or failed, 2 wrong use, 3 timeout. Without -c and
--psk, -l makes a certificate and prints its fingerprint for --fingerprint. What
it has to say itself goes to standard error. More: doc/dtls-nc.md
]]
