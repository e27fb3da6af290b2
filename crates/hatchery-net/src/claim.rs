//! What a program listens on: handed over where possible, else bound.

use std::os::fd::OwnedFd;

use hatchery_core::ListenMode;

use crate::inherit::serves;
use crate::{Address, Holder, ListenError, Listener, Listeners, Spec};

/// A listener that another program has handed over, not looked at yet.
#[derive(Debug)]
pub struct Inherited {
    /// Where it is said to listen.
    pub address: Address,
    /// The descriptors of its accept queues.
    pub fds: Vec<OwnedFd>,
    /// Who keeps it open.
    pub holder: Holder,
}

/// Has a listener for each of `specs`, and answers what was handed over and nobody asks for.
///
/// First every spec takes what was handed over for exactly its address. Then
/// those with port 0 take, in order, what is left on the same IP address: so a
/// program that asks for any port keeps the one that its predecessor got. What
/// is still missing is bound, with `mode`, `queues` and `backlog`
/// as in [`Listener::bind`]; what was handed over keeps the queues that it has,
/// and gets the backlog, unless a service manager holds it.
///
/// # Errors
/// When one of them cannot be had; those that were bound are closed again.
pub fn claim(
    specs: &[Spec],
    inherited: Vec<Inherited>,
    mode: ListenMode,
    queues: u16,
    backlog: u32,
) -> Result<(Listeners, Vec<Inherited>), ListenError> {
    refuse_twins(specs)?;
    let mut left = inherited;
    let mut found: Vec<Option<Inherited>> =
        specs.iter().map(|spec| take(&mut left, |it| it.address == spec.address)).collect();
    for (spec, found) in specs.iter().zip(&mut found) {
        if found.is_none() {
            *found = take(&mut left, |it| serves(&spec.address, &it.address));
        }
    }
    let mut taken = Vec::with_capacity(specs.len());
    for (spec, found) in specs.iter().zip(found) {
        let mut listener = found
            .map(|found| Ok::<_, ListenError>(Listener::inherit(spec, found.fds)?.held_by(found.holder)))
            .transpose()?;
        if let Some(listener) = &mut listener {
            listener.set_backlog(backlog)?;
        }
        taken.push(listener);
    }
    let listeners = bind_missing(specs, taken, |spec| Listener::bind(spec, mode, queues, backlog))?;
    Ok((Listeners::new(listeners), left))
}

fn bind_missing(
    specs: &[Spec],
    taken: Vec<Option<Listener>>,
    bind: impl Fn(&Spec) -> Result<Listener, ListenError>,
) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::with_capacity(specs.len());
    for (spec, taken) in specs.iter().zip(taken) {
        match taken.map_or_else(|| bind(spec), Ok) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                Listeners::new(listeners).abandon();
                return Err(error);
            }
        }
    }
    Ok(listeners)
}

fn take(from: &mut Vec<Inherited>, wanted: impl Fn(&Inherited) -> bool) -> Option<Inherited> {
    from.iter().position(wanted).map(|index| from.remove(index))
}

/// Any number of them may ask for port 0: each gets a port of its own.
pub(crate) fn refuse_twins(specs: &[Spec]) -> Result<(), ListenError> {
    for (index, spec) in specs.iter().enumerate() {
        let any_port = matches!(&spec.address, Address::Tcp(address) if address.port() == 0);
        if !any_port && specs[..index].iter().any(|earlier| earlier.address == spec.address) {
            return Err(ListenError::Twice { address: spec.address.clone() });
        }
    }
    Ok(())
}
