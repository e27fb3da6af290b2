use super::*;
use crate::testing::{NOW, check, name};

const PHASES: [&str; 8] = ["starting", "failed", "fresh", "steady", "finishing", "draining", "blocked", "killed"];
const EVENTS: [&str; 8] = ["ready", "waits", "boot failed", "recycle", "emptied", "deadline", "exit", "crash"];

fn in_phase(phase: &str) -> Worker {
    let deadline = NOW + Duration::from_secs(5);
    let phase = match phase {
        "starting" => Phase::Starting { deadline },
        "failed" => Phase::Failed { deadline },
        "fresh" => Phase::Ready(Standing::Fresh { steady_at: deadline }),
        "steady" => Phase::Ready(Standing::Steady),
        "finishing" => Phase::Finishing { deadline },
        "draining" => Phase::Draining { deadline, bequest: Bequest::NOTHING },
        "blocked" => Phase::Blocked { deadline },
        "killed" => Phase::Killed { cause: Cause::Unwanted },
        _ => unreachable!(),
    };
    Worker {
        pid: Pid(1),
        slot: Slot(0),
        phase,
        renewal: Renewal::None,
        takes: Takes::nothing(),
        expires: None,
        lacks: BTreeSet::new(),
        waits_for: None,
    }
}

fn phase_of(worker: &Worker) -> String {
    let phase = match worker.phase {
        Phase::Ready(standing) => name(&standing),
        Phase::Starting { .. }
        | Phase::Failed { .. }
        | Phase::Finishing { .. }
        | Phase::Draining { .. }
        | Phase::Blocked { .. }
        | Phase::Killed { .. } => name(&worker.phase),
    };
    let due = match worker.renewal {
        Renewal::None => "",
        Renewal::Due => ", due",
        Renewal::Outdated => ", outdated",
    };
    format!("{}{due}", phase.to_lowercase())
}

#[test]
fn every_phase_and_event() {
    check(TABLE, &PHASES, &EVENTS, |phase, event| {
        let mut worker = in_phase(phase);
        let meaning = match event {
            "ready" => name(&worker.hears(crate::testing::ready(), NOW)),
            "boot failed" => name(&worker.hears(WorkerSays::BootFailed { text: String::new() }, NOW)),
            "waits" => name(&worker.hears(WorkerSays::Waits { text: String::new() }, NOW)),
            "recycle" => name(&worker.hears(WorkerSays::Recycle, NOW)),
            "emptied" => name(&worker.hears(WorkerSays::Emptied, NOW)),
            "deadline" => match worker.due(NOW + Duration::from_secs(5)) {
                Due::Kill(cause) => format!("Kill {cause:?}"),
                due @ (Due::Nothing | Due::Steady) => name(&due),
            },
            "exit" => return format!("- | {:?}", worker.cause_of_end(Ending::Code(0))),
            "crash" => return format!("- | {:?}", worker.cause_of_end(Ending::Signal(11))),
            _ => unreachable!(),
        };
        format!("{} | {meaning}", phase_of(&worker))
    });
}

#[test]
fn a_deadline_is_due_when_it_is_reached_and_not_before() {
    for phase in PHASES {
        let mut worker = in_phase(phase);
        let Some(deadline) = worker.deadline() else { continue };
        assert_eq!(worker.due(Moment(deadline.0 - 1)), Due::Nothing, "{phase}");
        assert_ne!(worker.due(deadline), Due::Nothing, "{phase}");
        assert_eq!(worker.due(deadline), Due::Nothing, "{phase}: once");
        assert_eq!(worker.deadline(), None, "{phase}");
    }
}

#[test]
fn a_worker_that_did_not_boot_has_a_second_to_go() {
    let mut worker = in_phase("starting");
    drop(worker.hears(WorkerSays::BootFailed { text: String::new() }, NOW));
    assert_eq!(worker.deadline(), Some(NOW + LAST_WORDS));
}

const TABLE: &str = "
starting  | ready       | fresh       | Ready
starting  | waits       | starting    | Waits
starting  | boot failed | failed      | BootFailed
starting  | recycle     | starting    | Nothing
starting  | emptied     | starting    | Nothing
starting  | deadline    | killed      | Kill BootTimeout
starting  | exit        | -           | CrashedBooting
starting  | crash       | -           | CrashedBooting

failed    | ready       | failed      | Nothing
failed    | waits       | failed      | Nothing
failed    | boot failed | failed      | Nothing
failed    | recycle     | failed      | Nothing
failed    | emptied     | failed      | Nothing
failed    | deadline    | killed      | Kill BootFailed
failed    | exit        | -           | BootFailed
failed    | crash       | -           | BootFailed

fresh     | ready       | fresh       | Nothing
fresh     | waits       | fresh       | Nothing
fresh     | boot failed | fresh       | Nothing
fresh     | recycle     | fresh, due  | Recycle
fresh     | emptied     | fresh       | Nothing
fresh     | deadline    | steady      | Steady
fresh     | exit        | -           | Crashed
fresh     | crash       | -           | Crashed

steady    | ready       | steady      | Nothing
steady    | waits       | steady      | Nothing
steady    | boot failed | steady      | Nothing
steady    | recycle     | steady, due | Recycle
steady    | emptied     | steady      | Nothing
steady    | deadline    | steady      | Nothing
steady    | exit        | -           | Crashed
steady    | crash       | -           | Crashed

finishing | ready       | finishing   | Nothing
finishing | waits       | finishing   | Nothing
finishing | boot failed | finishing   | Nothing
finishing | recycle     | finishing   | Nothing
finishing | emptied     | draining    | Emptied
finishing | deadline    | killed      | Kill DrainTimeout
finishing | exit        | -           | Drained
finishing | crash       | -           | CrashedDraining

draining  | ready       | draining    | Nothing
draining  | waits       | draining    | Nothing
draining  | boot failed | draining    | Nothing
draining  | recycle     | draining    | Nothing
draining  | emptied     | draining    | Nothing
draining  | deadline    | killed      | Kill DrainTimeout
draining  | exit        | -           | Drained
draining  | crash       | -           | CrashedDraining

blocked   | ready       | blocked     | Nothing
blocked   | waits       | blocked     | Nothing
blocked   | boot failed | blocked     | Nothing
blocked   | recycle     | blocked     | Nothing
blocked   | emptied     | blocked     | Nothing
blocked   | deadline    | killed      | Kill Blocked
blocked   | exit        | -           | Blocked
blocked   | crash       | -           | Blocked

killed    | ready       | killed      | Nothing
killed    | waits       | killed      | Nothing
killed    | boot failed | killed      | Nothing
killed    | recycle     | killed      | Nothing
killed    | emptied     | killed      | Nothing
killed    | deadline    | killed      | Nothing
killed    | exit        | -           | Unwanted
killed    | crash       | -           | Unwanted
";
