//! Telling clients what has come of what they wait for.

use hatchery_control::{Level, Refusal, Reply};
use hatchery_core::{Master, Notice, Outcome, notice};

use super::Control;
use super::client::{Client, State};
use super::orders::Order;
use super::status::View;
use super::waiting::{Goal, Stage};

impl Control {
    /// A list goes on when what was told of it has been read.
    pub(super) fn go_on_listing(&mut self, view: View<'_>) {
        let mut answers = Vec::new();
        for (key, client) in self.clients.iter_mut().filter(|(_, client)| client.has_read_all()) {
            let State::Listing(cursor) = &mut client.state else { continue };
            match view.list(*cursor) {
                (part, Some(next)) => {
                    *cursor = next;
                    client.progress(&part);
                }
                (end, None) => answers.push((*key, end)),
            }
        }
        self.answer_all(answers);
    }

    /// A line of the log, as it is written.
    pub(crate) fn hears(&mut self, notice: &Notice, core: &Master) {
        if let Notice::Scaled { workers } = notice {
            self.scaling = Some(*workers);
        }
        let level = match notice.level() {
            notice::Level::Info => Level::Info,
            notice::Level::Warn => Level::Warn,
            notice::Level::Error => Level::Error,
        };
        let line = Reply::Progress { text: notice.to_string(), level };
        let mut answers = Vec::new();
        for (key, client) in &mut self.clients {
            let State::Waiting(wait) = &mut client.state else { continue };
            match wait.hears(notice, core) {
                Some(reply) => answers.push((*key, reply)),
                None if wait.stage != Stage::Asked && wait.is_to_the_end() => client.progress(&line),
                None => {}
            }
        }
        self.answer_all(answers);
    }

    /// What the settings that were read again do not do, and whoever waits for the reload may expect.
    pub(crate) fn warns(&mut self, warning: &str) {
        let line = Reply::Progress { text: warning.to_owned(), level: Level::Warn };
        for client in self.clients.values_mut() {
            let State::Waiting(wait) = &client.state else { continue };
            if (wait.goal, &wait.stage) == (Goal::Reload, &Stage::Running) && wait.is_to_the_end() {
                client.progress(&line);
            }
        }
    }

    /// The state of things after a step, when all that it asked for was done.
    pub(crate) fn looks(&mut self, order: Option<Order>, core: &Master) {
        if self.scaling.is_some_and(|workers| core.scale().0 != workers || has_scaled(workers, core)) {
            self.scaling = None;
        }
        let mut answers = Vec::new();
        let mut begins = None;
        for (key, client) in &mut self.clients {
            let State::Waiting(wait) = &mut client.state else { continue };
            if wait.stage != Stage::Asked {
                answers.extend(wait.looks(core).map(|reply| (*key, reply)));
            } else if order.is_some_and(|order| order.client == *key) {
                // Whoever else has asked since has not been heard by the core.
                begins = wait.begins(core).map(|text| (*key, text, wait.is_to_the_end()));
            }
        }
        if let Some((key, text, is_to_the_end)) = begins {
            self.says_how_it_begins(key, &text, is_to_the_end);
        }
        self.answer_all(answers);
    }

    /// What was to be done cannot be: this master could not load, and sleeps on.
    pub fn cannot_wake(&mut self, text: &str) {
        while let Some((key, _)) = self.asked.pop_front() {
            self.answer(key, &Reply::Failed { because: Refusal::Failed, text: text.to_owned() });
        }
    }

    /// The last words of a master, to everybody who waits for some.
    pub fn farewell(&mut self, outcome: &Outcome, replaced: bool) {
        for mut client in std::mem::take(&mut self.clients).into_values() {
            let State::Waiting(wait) = &client.state else { continue };
            let (reply, is_told_by_the_end) = (wait.ends(outcome, replaced), wait.goal == Goal::Stop);
            client.answer(&reply);
            if is_told_by_the_end {
                // Whoever waits for the process reads on: the system closes this one, with the process.
                std::mem::forget(client);
            }
        }
        self.asked.clear();
    }

    fn answer_all(&mut self, answers: Vec<(u64, Reply)>) {
        for (key, reply) in answers {
            let waited_for_upgrade =
                |client: &Client| matches!(&client.state, State::Waiting(wait) if wait.goal == Goal::Upgrade);
            self.upgrade_answered |= self.clients.get(&key).is_some_and(waited_for_upgrade);
            self.answer(key, &reply);
        }
    }
}

fn has_scaled(workers: u16, core: &Master) -> bool {
    let ready = core.ready().into_keys().filter(|slot| !slot.is_companion()).count();
    ready == usize::from(workers) || core.wanted() == 0
}
