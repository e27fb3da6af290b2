//! TLS, with clients that are strict about it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hatchery_tests::certificates::{Authority, authority, trusting};
use hatchery_tests::client::{Client, Failure};
use hatchery_tests::load::Load;
use hatchery_tests::log::Line;
use hatchery_tests::program::{Program, example};
use hatchery_tests::{End, Lab, Start, log, openssl};
use nix::sys::signal::Signal;
use nix::unistd::Uid;

/// How many answers there have to be before, between and after operations.
const SOME: u64 = 100;

/// A certificate has expired, and is used all the same.
const EXPIRED: Line = Line(&["tls-certificate: ", "the certificate has expired"]);

fn secured(lab: &Lab) -> String {
    format!("tls:{}", lab.secure())
}

#[test]
fn both_protocols_are_agreed_on_and_plain_http_is_told() {
    let lab = Start::lab().secured().program(Program::Link(example("tls"))).ready();
    let ask = |protocols: &[&str]| {
        let mut client = Client::connect_tls(lab.secure(), &authority().client(protocols, None)).expect("a handshake");
        let agreed = client.tls().alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        (agreed, client.get("/").map(|answer| answer.text()))
    };
    let (agreed, text) = ask(&["http/1.1"]);
    assert_eq!(agreed.as_deref(), Some("http/1.1"));
    assert_eq!(text.expect("an answer"), "TLSv1.3 with http/1.1 for localhost, 0 client certificates\n");
    let (agreed, text) = ask(&[]);
    assert_eq!((agreed, text.expect("an answer").contains("no protocol")), (None, true));
    // Where HTTP/2 was agreed on, nothing else is spoken.
    let (agreed, answer) = ask(&["h2", "http/1.1"]);
    assert_eq!((agreed.as_deref(), answer.is_err()), (Some("h2"), true));
    assert!(Client::connect_tls(lab.secure(), &authority().client(&["imap"], None)).is_err());

    assert_eq!(lab.get("/").expect("an answer").text(), "in the clear\n");
    let answer = Client::connect(lab.secure()).and_then(|mut client| client.get("/")).expect("an answer");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("https://") && answer.announces_close(), "{answer:?}");
    // Neither HTTP nor TLS.
    let mut client = Client::connect(lab.secure()).expect("a connection");
    client.send("\0\0\0\0 what is this?").expect("sent");
    let _alert = client.read_to_end();
    lab.stop();
}

#[test]
fn curl_speaks_both_protocols() {
    let lab = Start::lab().secured().ready();
    fs::write(lab.path("ca.pem"), authority().pem()).expect("a file");
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let (_, port) = lab.secure().rsplit_once(':').expect("a port");
        let output = Command::new("curl")
            .args(["--silent", "--show-error", flag, "--cacert"])
            .arg(lab.path("ca.pem"))
            .args(["--write-out", " %{http_version}", "--max-time", "20"])
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1"), &format!("https://localhost:{port}/")])
            .output()
            .expect("curl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("Hello, World! {version}"));
    }
    lab.stop();
}

#[test]
fn a_large_answer_arrives_whole_and_a_large_body_is_read() {
    let lab = Start::lab().secured().ready();
    let mut client = Client::connect(&secured(&lab)).expect("a handshake");
    assert_eq!(client.get("/bytes?n=3000000").expect("an answer").body.len(), 3_000_000);
    let body = "b".repeat(700_000);
    client
        .send(format!("POST /echo HTTP/1.1\r\nHost: lab\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
        .expect("sent");
    assert_eq!(client.answer().expect("an answer").body, body.as_bytes());
    // Several requests at once, decrypted at once.
    client.send("GET / HTTP/1.1\r\nHost: lab\r\n\r\n".repeat(50)).expect("sent");
    for _ in 0..50 {
        assert_eq!(client.answer().expect("an answer").body, b"Hello, World!");
    }
    lab.stop();
}

#[test]
fn clients_show_certificates_where_they_are_asked() {
    let issuer = Authority::new("issuer of clients");
    let known = authority().client(&[], Some(&issuer.issue(&["a client"])));
    let stranger = authority().client(&[], Some(&Authority::new("somebody else").issue(&["a client"])));
    let nobody = authority().client(&[], None);
    for (mode, without) in [("optional", true), ("required", false)] {
        let start = Start::lab().secured().program(Program::Link(example("tls")));
        fs::write(start.path("issuer.pem"), issuer.pem()).expect("a file");
        let file = start.path("issuer.pem").display().to_string();
        let lab = start.set("tls-client-auth", mode).set("tls-client-ca", &file).ready();
        let ask = |config| -> Result<String, Failure> {
            // With TLS 1.3 a client learns only from its first read that it is not wanted.
            Ok(Client::connect_tls(lab.secure(), config)?.get("/")?.text())
        };
        assert!(ask(&known).expect("an answer").contains(" 1 client certificates"));
        // Also when the session goes on.
        assert!(ask(&known).expect("an answer").contains(" 1 client certificates"));
        assert!(ask(&stranger).is_err(), "{mode}");
        assert_eq!(ask(&nobody).is_ok(), without, "{mode}");
        lab.stop();
    }
}

#[test]
fn each_name_gets_its_certificate() {
    let start = Start::lab().secured();
    let (first, first_key) = (start.path("server.pem"), start.path("server.key"));
    let (second, second_key) =
        authority().issue(&["other.test", "*.wild.test"]).write(start.path("").as_path(), "other");
    let list = |one: &Path, other: &Path| format!("{},{}", one.display(), other.display());
    let lab = start
        .without("tls-certificate")
        .without("tls-key")
        .variable("HATCHERY_TLS_CERTIFICATE", &list(&first, &second))
        .variable("HATCHERY_TLS_KEY", &list(&first_key, &second_key))
        .ready();
    for name in ["localhost", "other.test", "OTHER.test", "a.wild.test"] {
        let client = Client::connect_tls_for(name, lab.secure(), &trusting());
        assert!(client.is_ok(), "{name}: {client:?}");
    }
    for name in ["a.b.wild.test", "unknown.test"] {
        assert!(Client::connect_tls_for(name, lab.secure(), &trusting()).is_err(), "{name} gets the first one");
    }
    lab.stop();
}

#[test]
fn a_certificate_is_renewed_by_a_reload_under_load() {
    let lab = Start::lab().secured().ready();
    let load = Load::fresh(&secured(&lab), 3);
    let own = || {
        let client = Client::connect_tls(lab.secure(), &authority().client(&[], None)).expect("a handshake");
        client.tls().peer_certificates().expect("a certificate")[0].to_vec()
    };
    let old = own();
    for count in 1..=3 {
        load.more(SOME);
        authority().issue(&["localhost"]).write(lab.path("").as_path(), "server");
        lab.signal(Signal::SIGHUP);
        lab.until_logged(log::RELOAD_DONE, count);
        load.more(SOME);
    }
    assert_ne!(own(), old);
    load.finish_without_failure();
    lab.stop();
}

#[test]
fn a_certificate_that_cannot_be_used_leaves_everything_as_it_was() {
    let lab = Start::lab().secured().ready();
    let before = lab.ready();
    let good = fs::read(lab.path("server.pem")).expect("a file");
    let other = authority().issue(&["localhost"]);
    for (count, (certificate, reason)) in [
        (other.certificate.as_str(), "does not fit the certificate"),
        ("nothing of the kind", "has no certificate in it"),
        ("-----BEGIN CERTIFICATE-----\nAAAA", "END CERTIFICATE"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "server.pem"),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(lab.path("server.pem"), certificate).expect("a file");
        lab.signal(Signal::SIGHUP);
        lab.until_logged(log::RELOAD_FAILED, count + 1);
        let log = lab.log();
        let line = log.lines().rfind(|line| log::RELOAD_FAILED.is(line)).expect("a line");
        assert!(line.contains("--tls-") && line.contains("(command line)") && line.contains(reason), "{line}");
    }
    assert_eq!(lab.ready(), before);
    assert!(Client::connect(&secured(&lab)).and_then(|mut client| client.get("/")).is_ok());
    fs::write(lab.path("server.pem"), good).expect("a file");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.stop();
}

#[test]
fn what_is_wrong_with_tls_is_one_line_at_the_start() {
    let wrong = |change: &dyn Fn(Start) -> Start, words: &[&str]| {
        change(Start::lab().secured()).ended().assert_one_line(1, words);
    };
    let write = |name: &'static str, text: &str| {
        let text = text.to_owned();
        move |start: Start| {
            fs::write(start.path(name), &text).expect("a file");
            start
        }
    };
    wrong(
        &|start| start.set("tls-certificate", "/nowhere"),
        &["--tls-certificate (command line): cannot read /nowhere"],
    );
    wrong(&|start| start.set("tls-key", "/dev/zero"), &["--tls-key", "/dev/zero", "not a regular file"]);
    wrong(&write("server.key", "no key"), &["--tls-key (command line)", "no private key", "BEGIN PRIVATE KEY"]);
    wrong(&write("server.key", &authority().issue(&["x"]).key), &["--tls-key", "does not fit the certificate"]);
    wrong(
        &write("server.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"),
        &["--tls-key", "is encrypted"],
    );
    wrong(&|start| start.without("tls-certificate").without("tls-key"), &["--tls-bind", "expected --tls-certificate"]);
    wrong(&|start| start.without("tls-key"), &["--tls-certificate (command line): there is no --tls-key for it"]);
    wrong(&|start| start.without("tls-bind"), &["--tls-certificate", "expected --tls-bind"]);
    wrong(&|start| start.set("tls-client-auth", "required"), &["--tls-client-auth", "expected --tls-client-ca"]);
    wrong(&|start| start.set("tls-client-ca", "/nowhere"), &["--tls-client-ca", "expected --tls-client-auth"]);
    wrong(
        &|start| start.set("tls-client-ca", "/nowhere").set("tls-client-auth", "required"),
        &["--tls-client-ca (command line): cannot read /nowhere"],
    );
}

#[test]
fn a_check_of_the_settings_reads_certificates_as_well() {
    let check = |start: Start| start.argument("--check-config").ended();
    let ended = check(Start::lab().secured());
    assert_eq!(ended.end, End::Code(0), "{}", ended.log);
    assert!(ended.log.contains("tls_bind = [\"127.0.0.1:0\"]  # command line"), "{}", ended.log);
    let ended = check(Start::lab().secured_by(&authority().issue_expired(&["localhost"])));
    assert!(ended.log.contains("# tls_certificate: ") && ended.log.contains("has expired"), "{}", ended.log);
    let start = Start::lab().secured();
    fs::write(start.path("server.key"), "no key").expect("a file");
    check(start).assert_one_line(1, &["--tls-key (command line)", "no private key"]);
}

#[test]
fn listeners_with_tls_come_and_go_at_a_reload() {
    let start = Start::lab().secured();
    let (certificate, key) = (start.path("server.pem"), start.path("server.key"));
    let files = format!("tls_certificate = {certificate:?}\ntls_key = {key:?}\n");
    let without = "workers = 2\n".to_owned();
    let with = format!("{files}tls_bind = \"127.0.0.1:0\"\n");
    let start = start.without("tls-bind").without("tls-certificate").without("tls-key").config(&without);
    let lab = start.ready();
    fs::write(lab.path("lab.toml"), &with).expect("a file");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    let address = log::listening(&lab.log()).get(1).expect("a second address").to_string();
    let ask = || Client::connect(&format!("tls:{address}")).and_then(|mut client| client.get("/"));
    assert_eq!(ask().expect("an answer").body, b"Hello, World!");
    fs::write(lab.path("lab.toml"), &without).expect("a file");
    lab.signal(Signal::SIGHUP);
    lab.until("it is closed", || matches!(ask(), Err(Failure::NotConnected(_))));
    lab.stop();
}

#[test]
fn an_expired_certificate_is_worth_a_warning() {
    let lab = Start::lab().secured_by(&authority().issue_expired(&["localhost"])).ready();
    lab.until_logged(EXPIRED, 1);
    lab.stop();
}

#[test]
fn a_key_for_root_only_is_read_by_the_master() {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED: only root can start workers as somebody else");
        return;
    }
    let start = Start::lab().secured();
    fs::set_permissions(start.path("server.key"), fs::Permissions::from_mode(0o600)).expect("a mode");
    let lab = start.set("user", "nobody").ready();
    assert!(Client::connect(&secured(&lab)).and_then(|mut client| client.get("/")).is_ok());
    let before = lab.ready();
    lab.signal(Signal::SIGHUP);
    lab.until("every worker is new", || lab.ready().is_disjoint(&before) && lab.ready().len() == 2);
    assert!(Client::connect(&secured(&lab)).and_then(|mut client| client.get("/")).is_ok());
    lab.stop();
}

#[test]
fn slow_and_silent_clients_are_closed() {
    let lab = Start::lab().secured().set("tls-handshake-timeout", "400ms").ready();
    let mut silent = Client::connect(lab.secure()).expect("a connection");
    let mut slow = Client::connect(lab.secure()).expect("a connection");
    // The beginning of a record that never comes to its end.
    slow.send([22, 3, 1, 2, 0, 1, 0]).expect("sent");
    let mut quick = Client::connect(&secured(&lab)).expect("a handshake");
    assert!(silent.read_to_end().is_ok_and(|rest| rest.is_empty()));
    // It was cut off in the middle of what it had to say.
    let _reset_or_closed = slow.read_to_end();
    assert_eq!(quick.get("/").expect("it had done its handshake").status, 200);
    lab.stop();
}

#[test]
fn a_client_that_goes_is_seen_off_with_a_last_word() {
    let lab = Start::lab().secured().set("keep-alive-timeout", "300ms").ready();
    let mut client = Client::connect(&secured(&lab)).expect("a handshake");
    assert_eq!(client.get("/").expect("an answer").status, 200);
    // rustls takes an end without `close_notify` for an error.
    assert!(client.read_to_end().is_ok_and(|rest| rest.is_empty()));
    lab.stop();
}

#[test]
fn upgrades_and_reloads_under_load_cost_no_request() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().secured().set("listen-mode", mode).ready();
        let fresh = Load::fresh(&secured(&lab), 2);
        let keeping = Load::keep_alive(&secured(&lab), 2, Duration::ZERO);
        let thinking = Load::keep_alive(&secured(&lab), 4, Duration::from_millis(15));
        for count in 1..=2 {
            thinking.more(SOME);
            lab.signal(Signal::SIGHUP);
            lab.until_logged(log::RELOAD_DONE, count);
            thinking.more(SOME);
            lab.upgrade();
            fresh.more(SOME);
        }
        for tally in [fresh.finish(), keeping.finish(), thinking.finish()] {
            assert!(tally.failures.is_empty() && tally.answered > 0, "clients paid for it: {tally}");
        }
        lab.stop();
    }
}

#[test]
fn openssl_makes_a_handshake_with_each_version() {
    let lab = Start::lab().secured().ready();
    fs::write(lab.path("ca.pem"), authority().pem()).expect("a file");
    for version in ["-tls1_2", "-tls1_3"] {
        let trusted = lab.path("ca.pem").display().to_string();
        let _said = openssl::ask(lab.secure(), &["-brief", "-verify_return_error", "-CAfile", &trusted, version]);
    }
    lab.stop();
}
