//! Processes beside the workers: what they share with them, and what they become after their fork.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hatchery_core::{Companion, CompanionKind};
use hatchery_master::jobs::{self, JobRole, JobSeed};
use hatchery_master::{Newborn, Predecessor};
use hatchery_net::{JobConfig, JobQueue, Kept};
use hatchery_sys::{process, streams};
use hatchery_worker::JobDesk;
use tracing::info;

use super::{PANICKED, seed, tls};
use crate::hooks::SlotHook;
use crate::server::{Companions, Declared, Duty, Job, Life, Make};
use crate::{Error, Settings, admin, logging};

/// What the predecessor has kept, as far as it is asked for; the rest is made.
pub(super) fn keep(keeps: Vec<(String, Box<Make>)>, predecessor: Option<&mut Predecessor>) -> Result<Kept, Error> {
    let mut inherited = predecessor.map(|it| mem::take(&mut it.kept)).unwrap_or_default();
    let mut kept = Vec::new();
    for (name, make) in keeps {
        let found = inherited.iter().position(|(known, _)| *known == name).map(|index| inherited.swap_remove(index).1);
        let fd = match found {
            Some(fd) => fd,
            None => make().map_err(|source| Error::Keep { name: name.clone(), source })?,
        };
        kept.push((name, fd));
    }
    for (name, _) in &inherited {
        info!(target: "hatchery", "`{name}` is not kept any more: the program does not ask for it");
    }
    let kept = Kept::new(kept);
    crate::kept::publish(tls::without_keys(&kept));
    Ok(kept)
}

/// All that is declared beside the workers, and the queues that lead there.
pub(super) struct Staff<P: 'static> {
    posts: Vec<Post<P>>,
    /// Without what is the server's own.
    kept: Kept,
}

enum Post<P: 'static> {
    Jobs { name: String, config: JobConfig, job: Box<Job<P>>, queue: JobQueue },
    Sidecar { name: String, life: Box<Life<P>> },
    Admin,
}

/// What every worker and every sidecar has of it.
pub(super) struct Share {
    pub(super) jobs: Vec<JobDesk>,
    pub(super) kept: Kept,
}

impl<P: 'static> Staff<P> {
    /// Makes the queues, before the first fork.
    pub(super) fn gather(companions: Companions<P>, kept: &Kept, admin: bool) -> Result<Self, Error> {
        let post = |Declared { name, duty }| match duty {
            Duty::Jobs { config, job } => {
                let queue = JobQueue::pair().map_err(Error::JobQueue)?;
                Ok(Post::Jobs { name, config, job, queue })
            }
            Duty::Sidecar(life) => Ok(Post::Sidecar { name, life }),
        };
        let posts: Result<Vec<_>, Error> = companions.declared.into_iter().map(post).collect();
        let mut posts = posts?;
        posts.extend(admin.then_some(Post::Admin));
        Ok(Self { posts, kept: tls::without_keys(kept) })
    }

    /// As the master knows them.
    pub(super) fn list(&self) -> Vec<Companion> {
        let companion = |post: &Post<P>| match post {
            Post::Jobs { name, .. } => Companion { name: name.clone(), kind: CompanionKind::Jobs },
            Post::Sidecar { name, .. } => Companion { name: name.clone(), kind: CompanionKind::Sidecar },
            Post::Admin => Companion { name: admin::NAME.to_owned(), kind: CompanionKind::Admin },
        };
        self.posts.iter().map(companion).collect()
    }

    /// What a worker needs of it. It keeps no exit of a queue: with one it could
    /// not see that nobody reads any more.
    pub(super) fn share(self) -> Share {
        Share { jobs: self.posts.into_iter().filter_map(Post::into_desk).collect(), kept: self.kept }
    }

    /// The rest of a companion's life. As a worker's, it never returns.
    pub(super) fn work(
        mut self,
        index: usize,
        mut newborn: Newborn,
        settings: &Settings,
        after_fork: Vec<SlotHook>,
        preloaded: &'static P,
    ) -> ! {
        let ran = catch_unwind(AssertUnwindSafe(move || {
            let name = self.posts.get(index).map_or("", Post::name);
            let _for_life = logging::this_process(name, newborn.slot, newborn.generation).entered();
            let mut after_fork = after_fork;
            after_fork.iter_mut().for_each(|hook| hook(newborn.slot));
            if index >= self.posts.len() {
                return PANICKED;
            }
            match self.posts.swap_remove(index) {
                Post::Sidecar { name, life } => {
                    let (seed, _presence) = seed(newborn, settings, self.share());
                    life(seed, name, preloaded)
                }
                Post::Admin => {
                    let Some(listener) = newborn.admin.take() else { return PANICKED };
                    let (seed, _presence) = seed(newborn, settings, self.share());
                    admin::run(seed, listener)
                }
                Post::Jobs { name, config, job, queue } => {
                    // With a copy of any entry it could not see that nobody is left who sends orders.
                    drop(self.share());
                    let seed = job_seed(newborn, settings, name, config, queue);
                    match jobs::serve(seed) {
                        JobRole::Done(code) => code,
                        JobRole::Job(forked) => forked.run(&|input| job(input, preloaded)),
                    }
                }
            }
        }));
        streams::flush();
        process::exit_now(ran.unwrap_or(PANICKED))
    }
}

impl<P: 'static> Post<P> {
    fn name(&self) -> &str {
        match self {
            Self::Jobs { name, .. } | Self::Sidecar { name, .. } => name,
            Self::Admin => admin::NAME,
        }
    }

    /// What the program's own functions hold may well reach outside when it is
    /// dropped, and it is the master's: so they are forgotten.
    fn into_desk(self) -> Option<JobDesk> {
        match self {
            Self::Jobs { name, config, job, queue } => {
                mem::forget(job);
                Some(JobDesk { name, config, entry: queue.into_entry() })
            }
            Self::Sidecar { life, .. } => {
                mem::forget(life);
                None
            }
            Self::Admin => None,
        }
    }
}

/// Neither a job server nor its jobs accept anything: listeners and relay are closed here.
fn job_seed(newborn: Newborn, settings: &Settings, name: String, config: JobConfig, queue: JobQueue) -> JobSeed {
    let log = settings.clone();
    JobSeed {
        name,
        config,
        generation: newborn.generation,
        master: newborn.master,
        channel: newborn.channel,
        orders: queue.into_exit(),
        board: newborn.board,
        cell: newborn.cell,
        drain_timeout: newborn.drain_timeout,
        blocked: newborn.blocked,
        presence: newborn.presence,
        reopen: Box::new(move |sent| logging::take(&log, sent)),
    }
}
