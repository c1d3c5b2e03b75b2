//! The core's OpenSSL is made ready before a test makes a certificate with it, as in the module, which does so
//! when it is loaded: whoever comes first decides where its memory is from.
#![allow(unsafe_code)]

// SAFETY: such functions are called when the program is loaded, with arguments that this one overlooks.
#[used]
#[cfg_attr(target_os = "linux", link_section = ".init_array")]
static FIRST: extern "C" fn() = {
    extern "C" fn first() {
        dtls_core::openssl_version();
    }
    first
};
