//! Any bytes as a message of the relay: they are refused, or are a connection
//! that is the same when it is sent on.

#![no_main]

use hatchery_core::wire::relay::Transfer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    if let Ok(transfer) = Transfer::decode(message) {
        let again = transfer.encode();
        assert_eq!(Transfer::decode(&again), Ok(transfer), "{}", String::from_utf8_lossy(&again));
    }
});
