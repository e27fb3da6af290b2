//! What `ps` shows for this process.
//!
//! # Safety
//!
//! The kernel shows the memory that it has filled with the arguments at exec.
//! The strings in it are copied and all pointers to them changed before it is
//! first overwritten, so what std says about arguments and environment stays right.

/// Shows `text` as this process' command line, and its end as its short name.
///
/// It is cut to the room that the original arguments and environment take. The
/// short name is what follows the first `": "`, at most 15 bytes of it. The
/// first call has to come while the process has one thread; a forked child goes
/// on from there. Where the title cannot be set, that is outside of Linux with
/// glibc, only the short name changes, or nothing.
pub fn set(text: &str) {
    #[cfg(target_os = "linux")]
    set_name(text);
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    area::write(text.as_bytes());
    #[cfg(not(target_os = "linux"))]
    let _ = text;
}

/// The name that `top` and `/proc/PID/comm` show.
#[cfg(target_os = "linux")]
fn set_name(text: &str) {
    let short = text.split_once(": ").map_or(text, |(_, end)| end);
    let bytes: Vec<u8> = short.bytes().filter(|byte| *byte != 0).take(15).collect();
    if let Ok(name) = std::ffi::CString::new(bytes.trim_ascii_end()) {
        // A name that the kernel refuses would only be missing from a list.
        let _ = nix::sys::prctl::set_name(&name);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod area {
    use std::ffi::c_char;
    use std::ptr;
    use std::sync::Mutex;

    use crate::start::strings::{Strings, strings};

    /// Whether the strings have been copied out of the area.
    static FREED: Mutex<bool> = Mutex::new(false);

    unsafe extern "C" {
        static mut environ: *mut *mut c_char;
    }

    pub(super) fn write(text: &[u8]) {
        let Some(strings) = strings() else { return };
        // A thread that panicked here has left a flag that is right.
        let mut freed = FREED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // SAFETY: the first call comes while there is one thread, as documented.
        if !*freed && !unsafe { move_out(strings) } {
            return;
        }
        *freed = true;
        let len = text.len().min(strings.len.saturating_sub(1));
        // SAFETY: the area is `strings.len` bytes long, writable, never freed,
        // and no pointer that std or the C library follows leads into it any more.
        unsafe {
            ptr::write_bytes(strings.begin, 0, strings.len);
            ptr::copy_nonoverlapping(text.as_ptr(), strings.begin, len);
            // The kernel shows the whole argument area, zeros too, while its last
            // byte is zero; otherwise it stops at the first zero, which is what
            // makes the title end where the text ends.
            if len + 1 < strings.args_len {
                strings.begin.add(strings.args_len - 1).write(b'.');
            }
        }
    }

    /// Copies every string to the heap, for ever, and points to the copies: `false` without memory.
    ///
    /// # Safety
    /// No other thread may read arguments or environment at the same time.
    unsafe fn move_out(strings: Strings) -> bool {
        // SAFETY: `argv` holds `argc` pointers and `environ` ends with a null
        // pointer; both arrays are writable. The environment is taken as it is
        // now, since variables may have been added or removed.
        unsafe {
            for i in 0..strings.argc {
                if !move_one(strings.argv.add(i), strings) {
                    return false;
                }
            }
            let mut entry = environ;
            while !entry.is_null() && !(*entry).is_null() {
                if !move_one(entry, strings) {
                    return false;
                }
                entry = entry.add(1);
            }
        }
        true
    }

    /// # Safety
    /// `place` holds a pointer to a string, and nobody reads it at the same time.
    unsafe fn move_one(place: *mut *mut c_char, strings: Strings) -> bool {
        // SAFETY: as the caller says.
        unsafe {
            let begin = strings.begin.addr();
            if !(begin..begin + strings.len).contains(&(*place).addr()) {
                return true;
            }
            let copy = libc::strdup(*place);
            if copy.is_null() {
                return false;
            }
            *place = copy;
            true
        }
    }
}
