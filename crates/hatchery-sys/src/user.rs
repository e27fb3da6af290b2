//! Who a process is: looked up once, before anything is forked, and taken on after it.
//!
//! The account database is asked in the master only. It may be a network
//! service, which a newborn worker must not wait for.

use std::error::Error;
use std::ffi::CString;
use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Group, Uid, User};

/// What a process is to become.
///
/// ```
/// use hatchery_sys::user::Identity;
///
/// let root = Identity::find(Some("root"), None)?;
/// assert_eq!((root.uid(), root.gid()), (Some(0), 0));
/// # Ok::<(), hatchery_sys::user::AccountError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `None`: the user stays.
    uid: Option<Uid>,
    gid: Gid,
    groups: Vec<Gid>,
}

/// Why there is no such identity.
#[derive(Debug)]
pub enum AccountError {
    /// No user has this name or number.
    NoUser(String),
    /// No group has this name or number.
    NoGroup(String),
    /// Neither a user nor a group was named.
    Nobody,
    /// A number that no account has, so that its group is not known.
    GroupUnknown {
        /// The number.
        uid: u32,
    },
    /// The account database cannot be read.
    Database(io::Error),
}

impl Identity {
    /// Looks up a user, a group, or both, by name or by number. A name that is a
    /// number is a name first.
    ///
    /// Without a group it is the user's own. The supplementary groups are the
    /// user's; without a user, none but the group itself. A number that no account
    /// has will do where a group is given as well.
    ///
    /// # Errors
    /// When there is no such account, or the database cannot be read.
    pub fn find(user: Option<&str>, group: Option<&str>) -> Result<Self, AccountError> {
        let gid = group.map(find_group).transpose()?;
        let Some(user) = user else {
            let gid = gid.ok_or(AccountError::Nobody)?;
            return Ok(Self { uid: None, gid, groups: vec![gid] });
        };
        let (uid, account) = find_user(user)?;
        let gid = match (gid, &account) {
            (Some(gid), _) => gid,
            (None, Some(account)) => account.gid,
            (None, None) => return Err(AccountError::GroupUnknown { uid: uid.as_raw() }),
        };
        let groups = account.map_or_else(|| Ok(vec![gid]), |account| groups_of(&account.name, gid))?;
        Ok(Self { uid: Some(uid), gid, groups })
    }

    /// The user's number; `None` if the user stays.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.uid.map(Uid::as_raw)
    }

    /// The group's number.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid.as_raw()
    }

    /// Becomes it, for ever: supplementary groups, group and user, all three ids of
    /// each; then it tries to go back, which has to fail.
    ///
    /// The kernel takes away the capabilities, and forgets
    /// [`die_with_parent`](crate::process::die_with_parent): ask for that again.
    /// It forbids core dumps as well: see [`allow_dumps`](crate::process::allow_dumps).
    ///
    /// # Errors
    /// When the system refuses a step, or there would be a way back. The process is
    /// then something in between, and has to end.
    pub fn assume(&self) -> io::Result<()> {
        set_groups(&self.groups).map_err(|errno| step("setting the supplementary groups", errno))?;
        unistd::setgid(self.gid).map_err(|errno| step("setting the group", errno))?;
        if let Some(uid) = self.uid {
            unistd::setuid(uid).map_err(|errno| step("setting the user", errno))?;
        }
        self.verify()
    }

    fn verify(&self) -> io::Result<()> {
        let incomplete = |what: &str| Err(io::Error::other(format!("the {what} was not changed as a whole")));
        if !has_gid(self.gid) {
            return incomplete("group");
        }
        let Some(uid) = self.uid else { return Ok(()) };
        if !has_uid(uid) {
            return incomplete("user");
        }
        // Root may become anybody; nothing is to be kept from it.
        if uid.is_root() {
            return Ok(());
        }
        let root = (Uid::from_raw(0), Gid::from_raw(0));
        let is_back = unistd::setuid(root.0).is_ok()
            || unistd::seteuid(root.0).is_ok()
            || (self.gid != root.1 && (unistd::setgid(root.1).is_ok() || unistd::setegid(root.1).is_ok()));
        if is_back { Err(io::Error::other("the privileges could be taken back")) } else { Ok(()) }
    }
}

/// Whether this process may become somebody else.
#[must_use]
pub fn is_root() -> bool {
    unistd::geteuid().is_root()
}

/// The user's number that this process acts as.
#[must_use]
pub fn effective() -> u32 {
    unistd::geteuid().as_raw()
}

fn find_user(text: &str) -> Result<(Uid, Option<User>), AccountError> {
    if let Some(user) = User::from_name(text).map_err(database)? {
        return Ok((user.uid, Some(user)));
    }
    let uid = number(text).map(Uid::from_raw).ok_or_else(|| AccountError::NoUser(text.to_owned()))?;
    Ok((uid, User::from_uid(uid).map_err(database)?))
}

fn find_group(text: &str) -> Result<Gid, AccountError> {
    if let Some(group) = Group::from_name(text).map_err(database)? {
        return Ok(group.gid);
    }
    number(text).map(Gid::from_raw).ok_or_else(|| AccountError::NoGroup(text.to_owned()))
}

/// The largest number means "no change" to the kernel, and is nobody's.
fn number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number != u32::MAX)
}

fn database(errno: Errno) -> AccountError {
    AccountError::Database(errno.into())
}

fn step(doing: &str, errno: Errno) -> io::Error {
    io::Error::new(io::Error::from(errno).kind(), format!("{doing}: {}", errno.desc()))
}

#[cfg(not(any(target_os = "macos", target_os = "ios")))]
fn groups_of(name: &str, gid: Gid) -> Result<Vec<Gid>, AccountError> {
    let name = CString::new(name).map_err(|error| AccountError::Database(error.into()))?;
    unistd::getgrouplist(&name, gid).map_err(database)
}

#[cfg(any(target_os = "macos", target_os = "ios"))]
fn groups_of(_name: &str, gid: Gid) -> Result<Vec<Gid>, AccountError> {
    let _: Option<CString> = None;
    Ok(vec![gid])
}

#[cfg(not(any(target_os = "macos", target_os = "ios")))]
fn set_groups(groups: &[Gid]) -> nix::Result<()> {
    unistd::setgroups(groups)
}

#[cfg(any(target_os = "macos", target_os = "ios"))]
fn set_groups(_groups: &[Gid]) -> nix::Result<()> {
    Err(Errno::ENOTSUP)
}

#[cfg(target_os = "linux")]
fn has_uid(uid: Uid) -> bool {
    unistd::getresuid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [uid; 3])
}

#[cfg(target_os = "linux")]
fn has_gid(gid: Gid) -> bool {
    unistd::getresgid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [gid; 3])
}

#[cfg(not(target_os = "linux"))]
fn has_uid(uid: Uid) -> bool {
    [unistd::getuid(), unistd::geteuid()] == [uid; 2]
}

#[cfg(not(target_os = "linux"))]
fn has_gid(gid: Gid) -> bool {
    [unistd::getgid(), unistd::getegid()] == [gid; 2]
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser(text) => write!(f, "`{text}`: no user has this name; expected a name or a number"),
            Self::NoGroup(text) => write!(f, "`{text}`: no group has this name; expected a name or a number"),
            Self::Nobody => f.write_str("expected a user or a group"),
            Self::GroupUnknown { uid } => {
                write!(f, "`{uid}`: no user has this number, so its group is not known; expected a group as well")
            }
            Self::Database(_) => f.write_str("the accounts of this system cannot be read"),
        }
    }
}

impl Error for AccountError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Database(source) => Some(source),
            Self::NoUser(_) | Self::NoGroup(_) | Self::Nobody | Self::GroupUnknown { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let root = Identity { uid: Some(Uid::from_raw(0)), gid: Gid::from_raw(0), groups: vec![Gid::from_raw(0)] };
        assert_eq!(
            Identity::find(Some("0"), Some("0")).expect("root"),
            Identity::find(Some("root"), None).expect("root")
        );
        assert_eq!(Identity::find(Some("root"), None).expect("root").uid, root.uid);
        let group = Identity::find(None, Some("4000000000")).expect("a number will do");
        assert_eq!((group.uid(), group.gid(), group.groups.len()), (None, 4_000_000_000, 1));
        let stranger = Identity::find(Some("4000000000"), Some("0")).expect("with a group");
        assert_eq!((stranger.uid(), stranger.gid(), stranger.groups), (Some(4_000_000_000), 0, vec![Gid::from_raw(0)]));
    }

    #[test]
    fn what_cannot_be_is_said() {
        let said = |user, group| Identity::find(user, group).expect_err("nobody").to_string();
        assert_eq!(said(Some("no such"), None), "`no such`: no user has this name; expected a name or a number");
        assert_eq!(said(None, Some("+1")), "`+1`: no group has this name; expected a name or a number");
        assert!(said(Some("4000000000"), None).contains("expected a group as well"));
        assert!(said(Some("4294967295"), Some("0")).contains("no user has this name"));
        assert!(said(Some("-1"), None).contains("no user has this name"));
        assert!(said(None, None).contains("expected"));
    }
}
