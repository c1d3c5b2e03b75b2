//! Tells the core what the OpenSSL that it is linked with can do, and the system; and macOS's linker that Lua is
//! the host's.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(raw_public_keys, batches)");
    // What openssl-sys has found: 0x30600030 for 3.6.3.
    let version = std::env::var("DEP_OPENSSL_VERSION_NUMBER").unwrap_or_default();
    if u64::from_str_radix(&version, 16).is_ok_and(|version| version >= 0x3020_0000) {
        println!("cargo:rustc-cfg=raw_public_keys");
    }
    // The systems that receive and send many datagrams in one call.
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if ["linux", "android"].contains(&system.as_str()) {
        println!("cargo:rustc-cfg=batches");
    }
    // Lua's functions are in the program that loads the module. Other linkers take that for granted.
    if ["macos", "ios"].contains(&system.as_str()) {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-undefined,dynamic_lookup");
    }
}
