use std::time::Duration;

use hatchery_net::{Address, Bind};
use hatchery_sys::origin::Origin as Start;

use crate::{AccessLogTo, Anchor, ListenMode, LogFormat, Server, Settings};

#[test]
fn every_method_has_its_setting() {
    let ms = Duration::from_millis;
    let settings = Server::new()
        .bind("127.0.0.1:1")
        .bind("unix:app.sock")
        .workers(2)
        .listen_mode(ListenMode::Reuseport)
        .backlog(3)
        .pid_file("app.pid")
        .control("app.ctl")
        .control_mode(0o640)
        .boot_timeout(ms(4))
        .stop_delay(ms(23))
        .drain_timeout(ms(5))
        .header_timeout(ms(6))
        .body_timeout(ms(7))
        .send_timeout(ms(8))
        .keep_alive_timeout(ms(9))
        .max_connections(10)
        .max_connections_per_peer(19)
        .max_header_size(20 << 10)
        .max_body_size(21)
        .min_body_rate(22)
        .proxy_protocol_from("10.0.0.0/8,unix")
        .max_requests(13)
        .max_requests_jitter(14)
        .balance(false)
        .crash_limit(11)
        .upgrade_probation(ms(12))
        .log("/var/log/app")
        .log_format(LogFormat::Json)
        .access_log("/var/log/access")
        .working_dir("/")
        .umask(0o7)
        .heartbeat_timeout(ms(15))
        .max_lifetime(ms(16))
        .max_memory(17)
        .fd_store(true)
        .on_demand(true)
        .idle_timeout(ms(18))
        .daemonize(true)
        .user("root")
        .group("0")
        .no_new_privileges(true)
        .anchor(Anchor::Never)
        .tls_handshake_timeout(ms(19))
        .tls_ticket_lifetime(ms(20))
        .admin("127.0.0.1:2")
        .settings()
        .unwrap();
    let start = Start::capture().unwrap().dir;
    let expected = Settings {
        config: None,
        bind: vec!["127.0.0.1:1".parse().unwrap(), Bind::Address(Address::Unix(start.join("app.sock")))],
        bind_given: false,
        tls_bind: Vec::new(),
        tls_certificate: Vec::new(),
        tls_key: Vec::new(),
        tls_client_ca: None,
        tls_client_auth: crate::TlsClientAuth::Off,
        tls_handshake_timeout: ms(19),
        tls_ticket_lifetime: ms(20),
        workers: 2,
        listen_mode: ListenMode::Reuseport,
        backlog: 3,
        pid_file: Some(start.join("app.pid")),
        control: Some(start.join("app.ctl")),
        control_mode: 0o640,
        boot_timeout: ms(4),
        stop_delay: ms(23),
        drain_timeout: ms(5),
        header_timeout: ms(6),
        body_timeout: ms(7),
        send_timeout: ms(8),
        keep_alive_timeout: ms(9),
        max_connections: 10,
        max_connections_per_peer: 19,
        max_header_size: 20 << 10,
        max_body_size: 21,
        min_body_rate: 22,
        proxy_protocol_from: vec!["10.0.0.0/8".parse().unwrap(), hatchery_worker::Network::Unix],
        max_requests: 13,
        max_requests_jitter: Some(14),
        balance: false,
        crash_limit: 11,
        upgrade_probation: ms(12),
        log: Some("/var/log/app".into()),
        log_format: LogFormat::Json,
        access_log: AccessLogTo::File("/var/log/access".into()),
        working_dir: Some("/".into()),
        umask: Some(0o7),
        heartbeat_timeout: ms(15),
        max_lifetime: ms(16),
        max_memory: 17,
        fd_store: true,
        on_demand: true,
        idle_timeout: Some(ms(18)),
        daemonize: true,
        user: Some("root".to_owned()),
        group: Some("0".to_owned()),
        no_new_privileges: true,
        anchor: Anchor::Never,
        admin: Some("127.0.0.1:2".parse().unwrap()),
    };
    assert_eq!(settings, expected);
}

#[test]
fn what_cannot_be_is_said_when_the_settings_are_made() {
    let error = |server: Server| server.settings().unwrap_err().to_string();
    assert_eq!(
        error(Server::new().workers(0)),
        "workers (set by the program): `0`: expected a whole number from 1 to 512"
    );
    assert!(
        error(Server::new().boot_timeout(Duration::ZERO)).starts_with("boot_timeout (set by the program): `0ms`: ")
    );
    assert!(error(Server::new().umask(0o1000)).starts_with("umask (set by the program): `1000`: "));
    assert!(error(Server::new().bind("nowhere")).starts_with("bind (set by the program): `nowhere` is no address: "));
    assert!(
        error(Server::new().bind_named("raw", "nowhere"))
            .starts_with("bind_named \"raw\" (set by the program): `nowhere` is no address: ")
    );
}

#[test]
fn a_named_address_is_what_bind_takes() {
    for address in ["fd:lines", "127.0.0.1:0", "unix:lines.sock"] {
        let settings = Server::new().bind_named("lines", address).settings().unwrap();
        assert!(settings.bind.is_empty(), "{address}");
    }
    let error = Server::new().bind_named("lines", "fd:").settings().unwrap_err().to_string();
    assert!(error.starts_with("bind_named \"lines\" (set by the program): `fd:` is no address: "), "{error}");
}

#[test]
fn a_named_address_alone_is_enough() {
    let named = || Server::new().bind_named("raw", "127.0.0.1:1");
    assert!(named().settings().unwrap().bind.is_empty());
    assert_eq!(named().bind("127.0.0.1:2").settings().unwrap().bind.len(), 1);
    let error = named().bind("127.0.0.1:1").settings().unwrap_err().to_string();
    assert_eq!(
        error,
        "bind_named \"raw\" (set by the program): 127.0.0.1:1 is asked for by bind (set by the program) as well; expected each address once"
    );
}
