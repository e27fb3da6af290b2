//! An axum router behind hatchery, on one connection through a reload and an upgrade.

use hatchery_tests::client::Client;
use hatchery_tests::program::example;
use hatchery_tests::{Program, Start, log};
use nix::sys::signal::Signal;

#[test]
fn a_router_answers_on_one_connection_through_a_reload_and_an_upgrade() {
    let lab = Start::default().program(Program::Link(example("axum"))).ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    let mut answers = |when: &str| {
        let mut ask = |path: &str| client.get(path).unwrap_or_else(|failure| panic!("{when}, {path}: {failure:?}"));
        assert_eq!(ask("/").text(), "Hello, World!", "{when}");
        assert_eq!(ask("/greet/you").text(), "Hello, you!\n", "{when}");
        let languages = ask("/languages");
        assert_eq!(languages.header("content-type"), Some("application/json"), "{when}");
        assert_eq!(languages.text(), r#"["de","en","fr"]"#, "{when}");
        assert_eq!(ask("/nothing").status, 404, "{when}");
    };
    answers("at first");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    answers("after a reload");
    lab.upgrade();
    answers("after an upgrade");
    lab.stop();
}
