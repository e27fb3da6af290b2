//! The Rust of the guide and of the front page, compiled as tests.

macro_rules! tested {
    ($($name:ident: $path:literal,)*) => {
        $(#[doc = include_str!($path)] mod $name {})*
    };
}

tested! {
    front_page: "../../README.md",
    introduction: "../../docs/introduction.md",
    getting_started: "../../docs/getting-started.md",
    beside: "../../docs/beside.md",
    fork_safety: "../../docs/fork-safety.md",
    upgrades: "../../docs/upgrades.md",
    connections: "../../docs/connections.md",
    migrating: "../../docs/migrating.md",
    http: "../../docs/http.md",
    tls: "../../docs/tls.md",
}
