//! Every world that can be reached, breadth-first, and where each of them ends up.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::check::{self, Violation};
use crate::perform::{Stage, clock};
use crate::scope::Scope;
use crate::world::World;

/// How an exploration went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) states: usize,
    pub(crate) edges: u64,
    /// The most choices that were needed to reach a state first.
    pub(crate) depth: u32,
    /// The most steps that all-goes-well takes to come to rest.
    pub(crate) longest: u32,
    pub(crate) time: Duration,
    pub(crate) found: Option<Found>,
}

/// A violation, and the shortest way to it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) violation: Violation,
    pub(crate) story: Vec<String>,
}

/// How a state was reached first.
#[derive(Clone, Copy)]
struct Way {
    from: u32,
    choice: u16,
    refused: Option<u8>,
    depth: u32,
}

/// One that no state has.
const NONE: u32 = u32::MAX;

struct Explorer<'a> {
    scope: &'a Scope,
    seen: HashMap<u64, u32, BuildHasherDefault<Known>>,
    ways: Vec<Way>,
    /// Where each state goes if all goes well.
    next: Vec<u32>,
    at_rest: Vec<bool>,
    frontier: VecDeque<(u32, World)>,
    edges: u64,
}

/// Explores everything within `scope`, but at most so many states.
pub(crate) fn explore(scope: &Scope, most: usize) -> Outcome {
    let begin = Instant::now();
    let mut explorer = Explorer {
        scope,
        seen: HashMap::default(),
        ways: Vec::new(),
        next: Vec::new(),
        at_rest: Vec::new(),
        frontier: VecDeque::new(),
        edges: 0,
    };
    let found = explorer.run(most).and_then(|()| explorer.ends()).err();
    let (longest, found) = match found {
        Some(Stopped::Violation(way, violation)) => (0, Some(explorer.tell(way, violation))),
        None => (explorer.longest(), None),
    };
    Outcome {
        states: explorer.ways.len(),
        edges: explorer.edges,
        depth: explorer.ways.iter().map(|way| way.depth).max().unwrap_or(0),
        longest,
        time: begin.elapsed(),
        found,
    }
}

enum Stopped {
    Violation(Way, Violation),
}

impl Explorer<'_> {
    fn run(&mut self, most: usize) -> Result<(), Stopped> {
        let start = Way { from: NONE, choice: 0, refused: None, depth: 0 };
        let world = World::begun(self.scope).map_err(|violation| Stopped::Violation(start, violation))?;
        self.reach(&world, start)?;
        while let Some((id, world)) = self.frontier.pop_front() {
            if self.ways.len() > most {
                let detail = format!("more than {most} states");
                return Err(Stopped::Violation(
                    self.ways[id as usize],
                    Violation::new("bounds: too many states", detail),
                ));
            }
            self.expand(id, &world)?;
        }
        Ok(())
    }

    fn expand(&mut self, id: u32, world: &World) -> Result<(), Stopped> {
        let choices = world.choices(self.scope);
        let depth = self.ways[id as usize].depth + 1;
        for (number, choice) in (0u16..).zip(&choices.all) {
            let mut refused = None;
            loop {
                let way = Way { from: id, choice: number, refused, depth };
                let mut next = world.clone();
                let mut stage = Stage::new(self.scope, refused);
                let done = catch_unwind(AssertUnwindSafe(|| next.happen(*choice, &mut stage)));
                let verdict = done.unwrap_or_else(|_| Err(Violation::new("panic", "the master panicked")));
                verdict.map_err(|violation| Stopped::Violation(way, violation))?;
                let reached = self.reach(&next, way)?;
                self.edges += 1;
                if number == 0 && refused.is_none() && choices.free > 0 {
                    self.next[id as usize] = reached;
                }
                let further = refused.map_or(0, |request| request + 1);
                if world.budget.refusals == 0 || further >= stage.requests {
                    break;
                }
                refused = Some(further);
            }
        }
        Ok(())
    }

    /// Returns the number of this state, new or not.
    fn reach(&mut self, world: &World, way: Way) -> Result<u32, Stopped> {
        let world = world.canonical();
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        let id = u32::try_from(self.ways.len()).expect("states are counted in 32 bits");
        let known = *self.seen.entry(hasher.finish()).or_insert(id);
        if known == id {
            self.ways.push(way);
            self.next.push(NONE);
            self.at_rest.push(check::unrest(&world).is_none());
            check::settled(&world).map_err(|violation| Stopped::Violation(way, violation))?;
            self.frontier.push_back((id, world));
        }
        Ok(known)
    }

    /// From every state, what happens when all goes well ends at rest: in
    /// a state after which nothing comes, or in a circle of such states.
    fn ends(&self) -> Result<(), Stopped> {
        // Where each path was first walked on; 0: not yet.
        let mut walked = vec![0u32; self.next.len()];
        for start in 0..self.next.len() {
            let turn = u32::try_from(start + 1).expect("states are counted in 32 bits");
            let mut at = start;
            while walked[at] == 0 {
                walked[at] = turn;
                if self.next[at] == NONE {
                    break;
                }
                at = self.next[at] as usize;
            }
            // It has joined an earlier path, which ends well.
            if walked[at] != turn {
                continue;
            }
            let end = at;
            // What grows old is replaced again and again: then it is enough to be at rest in between.
            let renews = self.scope.looks.lifetime > Duration::ZERO;
            loop {
                if renews && self.at_rest[at] {
                    break;
                }
                if !self.at_rest[at] && (!renews || self.next[at] == NONE || self.next[at] as usize == end) {
                    return Err(Stopped::Violation(self.ways[at], Violation::new("liveness", String::new())));
                }
                at = self.next[at] as usize;
                if self.next[end] == NONE || at == end {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The longest way to rest.
    fn longest(&self) -> u32 {
        let mut steps = vec![NONE; self.next.len()];
        let mut path = Vec::new();
        for start in 0..self.next.len() {
            let mut at = start;
            while steps[at] == NONE {
                if self.at_rest[at] || self.next[at] == NONE {
                    steps[at] = 0;
                    break;
                }
                path.push(at);
                at = self.next[at] as usize;
            }
            let mut count = steps[at];
            while let Some(before) = path.pop() {
                count += 1;
                steps[before] = count;
            }
        }
        steps.into_iter().max().unwrap_or(0)
    }

    /// Walks a way again, with the processes' own pids and the time that passes.
    fn tell(&self, last: Way, violation: Violation) -> Found {
        let mut ways = vec![last];
        while let Some(way) = ways.last().filter(|way| way.from != NONE) {
            ways.push(self.ways[way.from as usize]);
        }
        let mut story = Vec::new();
        let Ok(mut world) = World::begun(self.scope) else { return Found { violation, story } };
        for way in ways.iter().rev().skip(1) {
            let choices = world.choices(self.scope);
            story.push(format!("at {}", clock(world.now)));
            let mut stage = Stage { story: Some(&mut story), ..Stage::new(self.scope, way.refused) };
            let choice = choices.all[usize::from(way.choice)];
            let end = catch_unwind(AssertUnwindSafe(|| world.happen(choice, &mut stage)));
            if !matches!(end, Ok(Ok(()))) {
                break;
            }
        }
        if violation.rule == "liveness" {
            story.push("from here all goes well, and yet:".to_owned());
            for _ in 0..40 {
                let choices = world.choices(self.scope);
                let Some(choice) = choices.all.first().filter(|_| choices.free > 0) else { break };
                story.push(format!("at {}: {}", clock(world.now), world.describe(*choice)));
                if world.happen(*choice, &mut Stage::new(self.scope, None)).is_err() {
                    break;
                }
            }
            let detail = check::unrest(&world).unwrap_or_default();
            return Found { violation: Violation::new("liveness: never at rest", detail), story };
        }
        Found { violation, story }
    }
}

/// Fingerprints are hashed already.
#[derive(Clone, Copy, Debug, Default)]
struct Known(u64);

impl Hasher for Known {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
