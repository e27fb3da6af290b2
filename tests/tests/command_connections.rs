//! `hatchery connections` on real servers.

use hatchery_tests::Start;
use hatchery_tests::client::Client;
use hatchery_tests::command::hatchery;
use serde_json::Value;

#[test]
fn connections_say_who_blocks_a_drain() {
    let lab = Start::lab().controlled().ready();
    let mut busy = Client::connect(lab.address()).expect("a connection");
    busy.begin("/stream?chunks=1000&ms=100").expect("the answer begins");
    let port = format!("127.0.0.1:{}", busy.port());
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let text = hatchery(&lab, arguments).done();
        text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
    };
    let all = lines(&["connections", "--json"]);
    let own = all.iter().find(|one| one["peer"] == *port).unwrap_or_else(|| panic!("{port} is not in {all:?}"));
    assert_eq!((&own["draining"], &own["protocol"]), (&false.into(), &"http/1".into()));
    assert_eq!(lines(&["connections", "--json", "--draining"]), [] as [Value; 0]);

    assert!(hatchery(&lab, &["reload", "--wait"]).done().contains("done"));
    let blocking = lines(&["connections", "--json", "--draining"]);
    assert_eq!((blocking.len(), &blocking[0]["peer"]), (1, &port.clone().into()), "{blocking:?}");
    let text = hatchery(&lab, &["connections"]).done();
    let first = text.lines().nth(1).expect("a connection");
    assert!(first.contains(&port) && first.contains("blocks a drain"), "{text}");
    drop(busy);
    lab.stop();
}
