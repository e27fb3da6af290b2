//! Other users at the control socket of a server: see `tests/helpers/stranger.rs`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use hatchery_control::Request;
use nix::unistd::Uid;

use crate::{Lab, wait};

/// Clients of one other user, until they are dropped.
#[derive(Debug)]
pub struct Strangers {
    process: Child,
    heard: Arc<Mutex<Vec<String>>>,
}

/// Whether others can be made up here; says loudly if not.
#[must_use]
pub fn can_be() -> bool {
    let is_root = Uid::effective().is_root();
    if !is_root {
        eprintln!("SKIPPED: only root can become somebody else");
    }
    is_root
}

impl Lab {
    /// Lets everybody into its folder, as far as the modes of what is in it do.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn open_folder(&self) {
        fs::set_permissions(self.path(""), fs::Permissions::from_mode(0o755)).expect("its own folder");
    }

    /// So many clients of this user and group at the control socket, each with this request if there is one.
    ///
    /// # Panics
    /// When the helper, whose path this is, cannot be started.
    #[must_use]
    pub fn strangers(
        &self,
        helper: &str,
        (uid, gid): (u32, u32),
        count: usize,
        request: Option<&Request>,
    ) -> Strangers {
        let mut command = Command::new(helper);
        command.args([uid.to_string(), gid.to_string()]).arg(self.control_path()).arg(count.to_string());
        command.args(request.map(|request| request.to_line().trim_end().to_owned()));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the helper");
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let (said, hears) = (BufReader::new(process.stdout.take().expect("a pipe")), Arc::clone(&heard));
        thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                hears.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let strangers = Strangers { process, heard };
        wait::until("strangers are there, or not let in", || {
            strangers.count("all are there").checked_add(strangers.count("not let in")).filter(|count| *count > 0)
        });
        strangers
    }
}

impl Strangers {
    /// How many lines with these words they have heard.
    #[must_use]
    pub fn count(&self, words: &str) -> usize {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().filter(|line| line.contains(words)).count()
    }

    /// Waits until they have heard so many lines with these words.
    ///
    /// # Panics
    /// When they do not.
    pub fn until_heard(&self, words: &str, count: usize) {
        wait::until(&format!("{count} strangers hear {words:?}"), || (self.count(words) >= count).then_some(()));
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
