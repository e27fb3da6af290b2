//! Who is connected.

use hatchery_control::{Connection, Reply, Request};

use crate::args::Server;
use crate::ask::{Meanwhile, Question};
use crate::failure::Failure;
use crate::output;
use crate::progress::remark;
use crate::status;
use crate::table::{Side, Table};
use crate::words::{age, count};

/// Prints who is connected.
pub(crate) fn run(server: &Server, json: bool, draining: bool) -> Result<(), Failure> {
    let mut connections = of_all(server)?;
    connections.retain(|connection| connection.draining || !draining);
    order(&mut connections);
    output::print(&if json { lines(&connections) } else { shown(&connections) })
}

/// Those of the serving master, and of its predecessors that drain. They come first: what moves
/// meanwhile is rather seen twice than not at all.
fn of_all(server: &Server) -> Result<Vec<Connection>, Failure> {
    let status = status::fetch(Question::at_once(server, Request::Status)?)?;
    let mut all = Vec::new();
    for predecessor in &status.predecessors {
        let Some(path) = &predecessor.control else { continue };
        match fetch(Question::at_once(&server.of(path), Request::Connections)?) {
            Ok(mut theirs) => all.append(&mut theirs),
            // It has drained meanwhile.
            Err(Failure::Client(_)) => {}
            Err(failure) => {
                let (generation, master) = (predecessor.generation, predecessor.master);
                remark(&format!("connections of generation {generation} (master {master}) are not shown: {failure}"));
            }
        }
    }
    all.append(&mut fetch(Question::at_once(server, Request::Connections)?)?);
    Ok(all)
}

fn fetch(question: Question) -> Result<Vec<Connection>, Failure> {
    let mut all = Vec::new();
    let last = question.ask(|heard, _| match heard {
        Meanwhile::Said(Reply::Connections { mut connections, .. }) => all.append(&mut connections),
        Meanwhile::Said(_) | Meanwhile::Nothing => {}
    })?;
    match last {
        Reply::Connections { mut connections, .. } => all.append(&mut connections),
        _ => return Err(Failure::Unexpected),
    }
    Ok(all)
}

/// Those that a drain waits for first, and of these the oldest.
fn order(connections: &mut [Connection]) {
    connections
        .sort_by(|one, other| other.draining.cmp(&one.draining).then(other.age_seconds.total_cmp(&one.age_seconds)));
}

/// For programs: an object a line.
fn lines(connections: &[Connection]) -> String {
    let line = |connection| serde_json::to_string(connection).map(|line| line + "\n").unwrap_or_default();
    connections.iter().map(line).collect()
}

/// For people.
fn shown(connections: &[Connection]) -> String {
    let mut table = Table::new([
        ("AGE", Side::Right),
        ("PEER", Side::Left),
        ("PROTOCOL", Side::Left),
        ("DOING", Side::Left),
        ("REQUESTS", Side::Right),
        ("SLOT", Side::Right),
        ("PID", Side::Right),
        ("GEN", Side::Right),
        ("LISTENER", Side::Left),
        ("", Side::Left),
    ]);
    for connection in connections {
        table.row([
            age(connection.age_seconds),
            connection.peer.clone().unwrap_or_else(|| "-".to_owned()),
            connection.protocol.clone(),
            connection.doing.clone(),
            connection.requests.to_string(),
            connection.slot.to_string(),
            connection.pid.to_string(),
            connection.generation.to_string(),
            connection.listener.clone(),
            if connection.draining { "blocks a drain".to_owned() } else { String::new() },
        ]);
    }
    let blocking = connections.iter().filter(|connection| connection.draining).count();
    let number = |many: usize| u64::try_from(many).unwrap_or(u64::MAX);
    let all = count(number(connections.len()), "connection");
    let blocking = if blocking == 0 { String::new() } else { format!(", a drain waits for {blocking}") };
    format!("{}\n{all}{blocking}\n", table.lines())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hatchery_control::{Predecessor, Status};

    use super::*;
    use crate::fake::{Fake, status, text};

    fn connection(age_seconds: f64, draining: bool) -> Connection {
        Connection {
            pid: 4243,
            slot: 0,
            generation: 3,
            draining,
            listener: text("127.0.0.1:8080"),
            peer: (!draining).then(|| text("192.0.2.7:50000")),
            protocol: text("http/1"),
            doing: text("idle"),
            age_seconds,
            requests: 7,
        }
    }

    #[test]
    fn who_blocks_a_drain_comes_first_and_then_the_oldest() {
        let mut all = [connection(1.0, false), connection(70.0, false), connection(2.0, true)];
        order(&mut all);
        let expected = "  \
  AGE  PEER             PROTOCOL  DOING  REQUESTS  SLOT   PID  GEN  LISTENER
 2.0s  -                http/1    idle          7     0  4243    3  127.0.0.1:8080  blocks a drain
1m10s  192.0.2.7:50000  http/1    idle          7     0  4243    3  127.0.0.1:8080
 1.0s  192.0.2.7:50000  http/1    idle          7     0  4243    3  127.0.0.1:8080

3 connections, a drain waits for 1
";
        assert_eq!(shown(&all), expected);
        assert_eq!(lines(&all).lines().count(), 3);
        assert!(lines(&all).starts_with(r#"{"pid":4243,"slot":0,"generation":3,"draining":true,"#));
    }

    #[test]
    fn those_of_predecessors_come_first_unless_they_are_gone() {
        let one = |age| vec![Reply::Connections { connections: vec![connection(age, false)], more: false }];
        let draining = Fake::answers([one(1.0)]);
        let predecessor = |control: &Server| Predecessor {
            master: 4100,
            generation: 2,
            control: control.control().ok().map(Path::to_owned),
        };
        let gone = Server::default().of(Path::new("/nowhere/ctl"));
        let predecessors = vec![predecessor(&gone), predecessor(&draining.server()), predecessor(&Server::default())];
        let status = Box::new(Status { predecessors, ..status() });
        let fake = Fake::answers([vec![Reply::Status { status }], one(2.0)]);
        let all = of_all(&fake.server()).unwrap();
        assert_eq!(all.iter().map(|one| one.age_seconds).collect::<Vec<_>>(), [1.0, 2.0]);
    }

    #[test]
    fn many_come_in_parts() {
        let part = |age, more| Reply::Connections { connections: vec![connection(age, false)], more };
        let fake = Fake::answers([vec![part(1.0, true), part(2.0, true), part(3.0, false)]]);
        let all = fetch(Question::at_once(&fake.server(), Request::Connections).unwrap()).unwrap();
        assert_eq!(all.iter().map(|one| one.age_seconds).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    }
}
