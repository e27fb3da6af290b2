//! Each source, each rank, each error.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::sources::{Given, Named};
use super::table::{Kind, Setting, TABLE, Unset};
use hatchery_net::Bind;

use super::*;

/// Sources with settings from a command line, an environment, a file and a program.
struct Case {
    sources: Sources,
    dir: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { sources: Sources { start: dir.path().to_owned(), ..Sources::default() }, dir }
    }

    fn flag(mut self, name: &str, values: &[&str]) -> Self {
        self.sources.command_line.push(given(name, values, Origin::CommandLine));
        self
    }

    fn variable(mut self, name: &str, values: &[&str]) -> Self {
        self.sources.environment.push(given(name, values, Origin::Environment));
        self
    }

    fn program(mut self, name: &str, values: &[&str]) -> Self {
        self.sources.program.push(given(name, values, Origin::Program));
        self
    }

    fn file(self, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.dir.path().join("app.toml"), text).unwrap();
        self.flag("config", &["app.toml"])
    }

    fn settings(&self) -> Settings {
        self.sources.resolve().unwrap()
    }

    /// The error, with the folder of the file left out.
    fn error(&self) -> String {
        let error = crate::Error::from(self.sources.resolve().unwrap_err()).one_line();
        assert_eq!(error.lines().count(), 1, "{error}");
        error.replace(&format!("{}/", self.dir.path().display()), "")
    }
}

fn given(name: &str, values: &[&str], origin: Origin) -> Given {
    Given { setting: Setting::named(name), values: values.iter().map(OsString::from).collect(), origin }
}

#[test]
fn defaults_are_those_of_the_crates_that_obey_them() {
    let settings = Case::new().settings();
    let policy = Policy { workers: settings.workers, ..Policy::default() };
    assert_eq!(settings.policy(), policy);
    let (limits, default) = (settings.limits(), Limits::default());
    assert_eq!(
        (limits.head, limits.body, limits.send, limits.idle, limits.max_connections),
        (default.head, default.body, default.send, default.idle, default.max_connections)
    );
    assert_eq!(settings.bind, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!((settings.backlog, settings.listen_mode), (4096, ListenMode::Shared));
    assert!((1..=512).contains(&settings.workers));
    assert_eq!(settings.header_timeout, Duration::from_secs(15));
    assert_eq!(settings.keep_alive_timeout, Duration::from_secs(75));
    assert_eq!((settings.pid_file, settings.log, settings.umask, settings.config), (None, None, None, None));
}

#[test]
fn every_default_is_a_value_of_its_setting() {
    for setting in TABLE {
        if let Unset::Text(text) = setting.unset {
            (setting.put)(&mut Settings::blank(), text).unwrap();
        }
    }
}

#[test]
fn names_are_derived_from_one() {
    let setting = Setting::named("keep-alive-timeout");
    assert_eq!(setting.key(), "keep_alive_timeout");
    assert_eq!(setting.variable(), "HATCHERY_KEEP_ALIVE_TIMEOUT");
    assert!(Setting::of_key("keep_alive_timeout").is_some());
    assert!(Setting::of_key("keep-alive-timeout").is_none());
    assert!(Setting::of_key("config").is_none());
}

#[test]
fn the_command_line_beats_the_environment_beats_the_file_beats_the_program() {
    let case = Case::new();
    let case = case.program("backlog", &["1"]);
    assert_eq!(case.settings().backlog, 1);
    let case = case.file("backlog = 2");
    assert_eq!(case.settings().backlog, 2);
    let case = case.variable("backlog", &["3"]);
    assert_eq!(case.settings().backlog, 3);
    let case = case.flag("backlog", &["4"]);
    assert_eq!(case.settings().backlog, 4);
}

#[test]
fn each_setting_is_ranked_by_itself() {
    let case = Case::new().file("workers = 2\nbacklog = 2").variable("workers", &["3"]).flag("crash-limit", &["4"]);
    let settings = case.settings();
    assert_eq!((settings.workers, settings.backlog, settings.crash_limit), (3, 2, 4));
}

#[test]
fn a_list_replaces_the_one_it_outranks() {
    let bound = |case: Case| case.settings().bind.iter().map(ToString::to_string).collect::<Vec<_>>();
    let case = || Case::new().program("bind", &["127.0.0.1:1"]).file("bind = ['127.0.0.1:2', '127.0.0.1:3']");
    assert_eq!(bound(case()), ["127.0.0.1:2", "127.0.0.1:3"]);
    assert_eq!(bound(case().flag("bind", &["127.0.0.1:4"])), ["127.0.0.1:4"]);
}

#[test]
fn every_setting_can_stand_in_the_file() {
    for setting in TABLE.iter().filter(|setting| setting.kind != Kind::File) {
        let value = match (setting.name, setting.kind, &setting.unset) {
            (_, Kind::Number, _) => "7".to_owned(),
            (_, Kind::List, _) => "['127.0.0.1:7']".to_owned(),
            (_, Kind::Switch, _) => "true".to_owned(),
            (_, Kind::Text | Kind::File, Unset::Text(text)) => format!("'{text}'"),
            ("umask", ..) => "'027'".to_owned(),
            ("admin", ..) => "'127.0.0.1:7'".to_owned(),
            ("idle-timeout", ..) => "'1m'".to_owned(),
            ("proxy-protocol-from", ..) => "'10.0.0.0/8, unix'".to_owned(),
            ("user" | "group", ..) => "'0'".to_owned(),
            (_, Kind::Text | Kind::File, Unset::Off | Unset::Cpus) => "'path'".to_owned(),
        };
        // Those that need another one.
        let base = match setting.name {
            "max-requests-jitter" => "max_requests = 70\n",
            "idle-timeout" => "on_demand = true\n",
            "tls-bind" => "tls_certificate = 'a.pem'\ntls_key = 'a.key'\n",
            "tls-certificate" => "tls_bind = '[::1]:1'\ntls_key = 'a.key'\n",
            "tls-key" => "tls_bind = '[::1]:1'\ntls_certificate = 'a.pem'\n",
            "tls-client-ca" => "tls_client_auth = 'optional'\n",
            _ => "",
        };
        if base.contains("tls_") && !cfg!(feature = "tls") {
            continue;
        }
        Case::new().file(format!("{base}{} = {value}", setting.key())).settings();
    }
}

#[test]
fn a_jitter_adds_to_something() {
    let case = |file: &str| Case::new().file(file);
    let quota = |file: &str| case(file).settings().quota().map(|quota| (quota.requests, quota.jitter));
    assert_eq!(quota("max_requests = 70"), Some((70, 7)));
    assert_eq!(quota("max_requests = 70\nmax_requests_jitter = 0"), Some((70, 0)));
    assert_eq!(quota("max_requests_jitter = 0"), None);
    assert_eq!(
        case("max_requests_jitter = 7").error(),
        "max_requests_jitter (app.toml line 1): 7 requests more than for ever; expected max_requests as well"
    );
    assert_eq!(case("balance = 'maybe'").error(), "balance (app.toml line 1): `maybe`: expected `on` or `off`");
}

#[test]
fn an_idle_server_has_to_come_back() {
    let case = |file: &str| Case::new().file(file);
    assert_eq!(
        case("idle_timeout = '1m'").error(),
        "idle_timeout (app.toml line 1): only with on_demand: nothing would start the workers again"
    );
    assert_eq!(
        Case::new().file("").flag("idle-timeout", &["1m"]).error(),
        "--idle-timeout (command line): only with --on-demand: nothing would start the workers again"
    );
    assert!(case("on_demand = true\nidle_timeout = '1m'").settings().policy().idle_timeout.is_some());
    assert_eq!(case("on_demand = true").settings().policy().idle_timeout, None);
}

#[test]
fn the_file_is_read_again_each_time() {
    let case = Case::new().file("workers = 2");
    assert_eq!(case.settings().workers, 2);
    fs::write(case.dir.path().join("app.toml"), "workers = 3").unwrap();
    assert_eq!(case.settings().workers, 3);
    fs::write(case.dir.path().join("app.toml"), "workers = 0").unwrap();
    assert_eq!(case.error(), "workers (app.toml line 1): `0`: expected a whole number from 1 to 512");
}

#[test]
fn the_environment_may_name_the_file_and_the_command_line_another() {
    let case = Case::new().file("workers = 2").variable("config", &["/no/such/file"]);
    assert_eq!(case.settings().workers, 2, "the flag outranks the variable");
}

#[test]
fn paths_begin_where_the_program_was_started() {
    let case = Case::new()
        .file("pid_file = 'app.pid'\nlog = '/var/log/app'\nbind = 'unix:run/app.sock'\nworking_dir = 'work'");
    let (settings, dir) = (case.settings(), case.dir.path());
    assert_eq!(settings.config, Some(dir.join("app.toml")));
    assert_eq!(settings.pid_file, Some(dir.join("app.pid")));
    assert_eq!(settings.log, Some("/var/log/app".into()));
    assert_eq!(settings.working_dir, Some(dir.join("work")));
    assert_eq!(settings.bind, [Bind::Address(Address::Unix(dir.join("run/app.sock")))]);
}

#[test]
fn what_is_wrong_names_the_setting_its_source_and_what_would_be_right() {
    let number = "`many`: expected a whole number from 1 to 512";
    let table = [
        (Case::new().flag("workers", &["many"]), format!("--workers (command line): {number}")),
        (Case::new().variable("workers", &["many"]), format!("HATCHERY_WORKERS (environment): {number}")),
        (Case::new().program("workers", &["many"]), format!("workers (set by the program): {number}")),
        (
            Case::new().file("\nworkers = 513"),
            "workers (app.toml line 2): `513`: expected a whole number from 1 to 512".to_owned(),
        ),
        (
            Case::new().flag("listen-mode", &["both"]),
            "--listen-mode (command line): `both`: expected `shared` or `reuseport`".to_owned(),
        ),
        (
            Case::new().file("log_format = 'xml'"),
            "log_format (app.toml line 1): `xml`: expected `text` or `json`".to_owned(),
        ),
        (
            Case::new().variable("drain-timeout", &["soon"]),
            "HATCHERY_DRAIN_TIMEOUT (environment): `soon`: \
             expected a whole number and its unit, as in `500ms`, `10s` or `2m`"
                .to_owned(),
        ),
        (
            Case::new().flag("header-timeout", &["0"]),
            "--header-timeout (command line): `0`: expected more than 0, as in `500ms`, `10s` or `2m`".to_owned(),
        ),
        (
            Case::new().flag("backlog", &["0"]),
            "--backlog (command line): `0`: expected a whole number from 1 to 2147483647".to_owned(),
        ),
        (Case::new().flag("pid-file", &[""]), "--pid-file (command line): ``: expected a path".to_owned()),
        (
            Case::new().flag("umask", &["rwx"]),
            "--umask (command line): `rwx`: expected octal digits from `000` to `777`".to_owned(),
        ),
        (Case::new().file("bind = []"), "bind (app.toml line 1): expected at least one value".to_owned()),
        (
            Case::new().file("wrokers = 1"),
            "wrokers (app.toml line 1): there is no such setting; did you mean `workers`?".to_owned(),
        ),
        (
            Case::new().flag("config", &["missing.toml"]),
            "cannot read the settings file missing.toml that --config names: No such file or directory (os error 2)"
                .to_owned(),
        ),
        (
            Case::new().variable("config", &["."]),
            "cannot read the settings file . that HATCHERY_CONFIG names: it is not a regular file".to_owned(),
        ),
        (
            Case::new().file(b"log = '\xff'"),
            "cannot read the settings file app.toml that --config names: stream did not contain valid UTF-8".to_owned(),
        ),
        (
            Case::new().flag("bind", &["127.0.0.1:80", "127.0.0.1:80"]),
            "--bind (command line): 127.0.0.1:80 is there twice; expected each address once".to_owned(),
        ),
        (
            Case::new().flag("log", &["x"]).flag("pid-file", &["./x"]),
            "--pid-file (command line): ./x is what --log (command line) names as well; expected a path of its own"
                .to_owned(),
        ),
    ];
    for (case, expected) in table {
        assert_eq!(case.error(), expected);
    }
}

#[test]
fn a_path_is_there_for_one_thing() {
    // Of two that clash the later one is named.
    let names = ["bind", "admin", "control", "log", "access-log", "pid-file"];
    for (index, one) in names.iter().enumerate() {
        for other in &names[..index] {
            if matches!((*other, *one), ("bind", "admin") | ("log", "access-log")) {
                continue;
            }
            let value = |name| if matches!(name, "bind" | "admin") { "unix:/x" } else { "/x" };
            let error = Case::new().flag(one, &[value(*one)]).flag(other, &[value(*other)]).error();
            let expected = format!("/x is what --{other} (command line) names as well; expected a path of its own");
            assert_eq!(error, format!("--{one} (command line): {expected}"));
        }
    }
    for (name, value) in [("control", "/x.oldbin"), ("log", "/x.oldbin"), ("bind", "unix:/x.oldbin")] {
        let error = Case::new().flag("pid-file", &["/x"]).flag(name, &[value]).error();
        let expected = "/x.oldbin, its name while a predecessor drains, is what";
        assert!(
            error.starts_with(&format!("--pid-file (command line): {expected} --{name} (command line) names")),
            "{error}"
        );
    }
    drop(Case::new().flag("log", &["/x"]).flag("access-log", &["/x"]).settings());
}

#[test]
fn of_certificates_and_keys_the_one_that_is_there_is_named_as_it_was_written() {
    if !cfg!(feature = "tls") {
        return;
    }
    let each = "expected one for each, in the same order";
    let table = [
        (
            Case::new().file("workers = 1\ntls_bind = '[::1]:1'\ntls_certificate = 'a.pem'"),
            format!("tls_certificate (app.toml line 3): there is no tls_key for it: {each}"),
        ),
        (
            Case::new().flag("tls-key", &["a.key"]).flag("tls-bind", &["[::1]:1"]),
            format!("--tls-key (command line): there is no --tls-certificate for it: {each}"),
        ),
        (
            Case::new().variable("tls-certificate", &["a.pem"]),
            format!("HATCHERY_TLS_CERTIFICATE (environment): there is no HATCHERY_TLS_KEY for it: {each}"),
        ),
        (
            Case::new().file("tls_certificate = ['a.pem', 'b.pem']").flag("tls-key", &["a.key"]),
            format!("--tls-key (command line): 1 for the 2 of tls_certificate (app.toml line 1): {each}"),
        ),
        (
            Case::new().file("\ntls_bind = '[::1]:1'"),
            "tls_bind (app.toml line 2): expected tls_certificate and tls_key as well".to_owned(),
        ),
        (
            Case::new().program("tls-certificate", &["a.pem"]).program("tls-key", &["a.key"]),
            "tls_certificate (set by the program): nothing speaks TLS; expected tls_bind as well".to_owned(),
        ),
        (
            Case::new().flag("tls-client-auth", &["optional"]),
            "--tls-client-auth (command line): expected --tls-client-ca as well: whose certificates are accepted?"
                .to_owned(),
        ),
    ];
    for (case, expected) in table {
        assert_eq!(case.error(), expected);
    }
}

#[test]
fn an_address_that_is_there_twice_names_both_places() {
    let named = |mut case: Case, address: &str| {
        case.sources.named.push(Named { name: "lines".to_owned(), bind: address.parse().unwrap() });
        case
    };
    let once = "expected each address once";
    let table = [
        (
            Case::new().file("bind = '127.0.0.1:1'\nworkers = 1\nadmin = '127.0.0.1:1'"),
            format!("admin (app.toml line 3): 127.0.0.1:1 is asked for by bind (app.toml line 1) as well; {once}"),
        ),
        (
            Case::new().flag("admin", &["127.0.0.1:8080"]),
            format!("--admin (command line): 127.0.0.1:8080 is asked for by bind (default) as well; {once}"),
        ),
        (
            named(Case::new().variable("bind", &["127.0.0.1:1"]), "127.0.0.1:1"),
            format!(
                "bind_named \"lines\" (set by the program): 127.0.0.1:1 is asked for by HATCHERY_BIND (environment) as well; {once}"
            ),
        ),
        (
            named(Case::new().flag("bind", &["fd:web"]), "fd:web"),
            format!(
                "bind_named \"lines\" (set by the program): fd:web is asked for by --bind (command line) as well; {once}"
            ),
        ),
        (
            named(Case::new().file("control = '/run/x'"), "unix:/run/x"),
            "control (app.toml line 1): /run/x is what bind_named \"lines\" (set by the program) names as well; \
             expected a path of its own"
                .to_owned(),
        ),
    ];
    for (case, expected) in table {
        assert_eq!(case.error(), expected);
    }
}

#[test]
fn who_asks_for_an_address_is_known() {
    let case = Case::new().file("\nbind = ['127.0.0.1:1', 'fd:web']").flag("admin", &["127.0.0.1:2"]);
    let settings = case.settings();
    let asker = |bind: &str| {
        let place = case.sources.asker(&settings, &bind.parse().unwrap())?;
        Some(place.to_string().replace(&format!("{}/", case.dir.path().display()), ""))
    };
    assert_eq!(asker("127.0.0.1:1").as_deref(), Some("bind (app.toml line 2)"));
    assert_eq!(asker("fd:web").as_deref(), Some("bind (app.toml line 2)"));
    assert_eq!(asker("127.0.0.1:2").as_deref(), Some("--admin (command line)"));
    assert_eq!(asker("127.0.0.1:3"), None);
}

#[test]
fn addresses_are_refused_in_the_words_of_the_listeners() {
    let error = Case::new().flag("bind", &["localhost:80"]).error();
    assert!(error.starts_with("--bind (command line): `localhost:80` is no address: "), "{error}");
}

#[test]
fn the_system_may_choose_two_ports() {
    assert_eq!(Case::new().flag("bind", &["127.0.0.1:0", "127.0.0.1:0"]).settings().bind.len(), 2);
}

#[test]
fn a_value_that_is_outranked_has_to_be_right_as_well() {
    let case = Case::new().variable("workers", &["many"]).flag("workers", &["2"]);
    assert!(case.error().starts_with("HATCHERY_WORKERS (environment): "));
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    let mut case = Case::new();
    let values = vec![OsStr::from_bytes(b"/run/\xff").to_owned()];
    case.sources.command_line.push(Given { setting: Setting::named("pid-file"), values, origin: Origin::CommandLine });
    assert_eq!(case.error(), "--pid-file (command line): /run/\u{fffd} is not valid UTF-8");
}
