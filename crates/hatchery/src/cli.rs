//! The command line: flags that any program can add to its own.

use std::ffi::OsString;

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Parser};
use hatchery_sys::origin::Origin as Start;
use hatchery_sys::{process, streams};

use crate::exit::complain;
use crate::settings::asked::Asked;
use crate::settings::sources::Given;
use crate::settings::table::{Kind, Setting, TABLE, Unset};
use crate::settings::{Origin, Settings};

/// The flags of a server, to be flattened into a program's own arguments.
///
/// They are `--config`, `--bind`, `--workers` and so on: one for each setting,
/// see [`Settings`]. Give them to
/// [`Server::from_args`](crate::Server::from_args), which also looks at the
/// environment and at the file that `--config` names.
///
/// ```
/// use clap::Parser;
///
/// #[derive(Parser)]
/// struct Args {
///     /// Where the model is
///     #[arg(long, default_value = "model.bin")]
///     model: String,
///     #[command(flatten)]
///     server: hatchery::cli::ServerArgs,
/// }
///
/// let args = Args::parse_from(["app", "--model", "big.bin", "--workers", "3"]);
/// let settings = hatchery::Server::from_args(args.server).settings()?;
/// assert_eq!((args.model.as_str(), settings.workers), ("big.bin", 3));
/// # Ok::<(), hatchery::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ServerArgs {
    pub(crate) given: Vec<Given>,
    pub(crate) asked: Option<Asked>,
}

/// Parses the command line of the process.
///
/// What is wrong with it is said in one line on standard error, `name: error: …`,
/// and the process ends with code 1. `--help` and `--version` print what they
/// are for and end it with code 0. Nothing is dropped then: this is for the
/// first line of `main`.
///
/// ```no_run
/// use clap::Parser;
/// use hatchery::{Exit, Server, cli, http};
///
/// #[derive(Parser)]
/// struct Args {
///     #[command(flatten)]
///     server: cli::ServerArgs,
/// }
///
/// fn main() -> Exit {
///     let args: Args = cli::parse();
///     Server::from_args(args.server)
///         .run(http::serve_fn(async |_request| Ok::<_, std::convert::Infallible>(http::text("Hello, World!"))))
/// }
/// ```
#[must_use]
pub fn parse<T: Parser>() -> T {
    // Before anything can change the folder or the environment. If it cannot be
    // had, `run` says so.
    let _ = Start::capture();
    let error = match T::try_parse() {
        Ok(args) => return args,
        Err(error) => error,
    };
    let code = if error.use_stderr() {
        complain(&one_line(&error));
        1
    } else {
        // Help for a reader that has gone away helps nobody.
        let _ = error.print();
        0
    };
    streams::flush();
    process::exit_now(code)
}

impl Args for ServerArgs {
    fn augment_args(command: Command) -> Command {
        let command = TABLE.iter().fold(command, |command, setting| command.arg(flag(setting)));
        QUESTIONS.iter().fold(command, |command, (name, help, _)| command.arg(question(name, help)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ServerArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (name, _, asked) in QUESTIONS {
            if matches.get_flag(name) {
                self.asked = Some(asked);
            }
        }
        for setting in TABLE {
            let Some(values) = matches.get_many::<OsString>(&id(setting)) else { continue };
            let given = Given { setting, values: values.cloned().collect(), origin: Origin::CommandLine };
            given
                .put(&mut Settings::blank())
                .map_err(|error| clap::Error::raw(ErrorKind::ValueValidation, error.to_string()))?;
            self.given.retain(|earlier| earlier.setting.name != setting.name);
            self.given.push(given);
        }
        Ok(())
    }
}

/// Flags that ask for something to be told, instead of serving.
const QUESTIONS: [(&str, &str, Asked); 2] = [
    ("check-config", "Print the settings that would be used and where each comes from, and end", Asked::Check),
    ("sample-config", "Print a settings file with every setting in it, commented out, and end", Asked::Sample),
];

fn question(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help).help_heading("Server")
}

/// The table's row as clap wants it. Its values are not parsed by clap, so that
/// every source has the same parser and the same error.
fn flag(setting: &'static Setting) -> Arg {
    let help = match setting.unset {
        Unset::Off => setting.help.to_owned(),
        Unset::Text(text) => format!("{} [default: {text}]", setting.help),
        Unset::Cpus => format!("{} [default: number of CPUs]", setting.help),
    };
    let action = match setting.kind {
        Kind::List => ArgAction::Append,
        Kind::Text | Kind::Number | Kind::File | Kind::Switch => ArgAction::Set,
    };
    let arg = Arg::new(id(setting))
        .long(setting.name)
        .value_name(setting.value)
        .value_parser(ValueParser::os_string())
        .action(action)
        .help(help)
        .help_heading("Server");
    match setting.kind {
        Kind::Switch => arg.num_args(0..=1).default_missing_value("on"),
        Kind::Text | Kind::Number | Kind::File | Kind::List => arg,
    }
}

/// A program's own arguments may have these names, as long as their flags differ.
fn id(setting: &Setting) -> String {
    format!("hatchery-{}", setting.name)
}

/// clap's paragraphs as one line, without the usage.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Its text is the whole help.
        return "arguments are missing; try '--help'".to_owned();
    }
    let text = error.render().to_string();
    let text = text.trim_start_matches("error: ");
    let is_value = error.kind() == ErrorKind::ValueValidation;
    let wanted = |paragraph: &&str| {
        !(paragraph.is_empty()
            || paragraph.starts_with("Usage:")
            || is_value && paragraph.starts_with("For more information"))
    };
    let line = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = text.split("\n\n").map(str::trim).filter(wanted).map(line).collect();
    lines.join("; ").replace("For more information, try", "try").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "app", version = "1.2.3")]
    struct App {
        /// Own flag
        #[arg(long)]
        own: Option<String>,
        /// Has the name of a setting, but no flag
        workers: Option<String>,
        #[command(flatten)]
        server: ServerArgs,
    }

    fn parsed(args: &[&str]) -> App {
        App::try_parse_from([&["app"], args].concat()).unwrap()
    }

    fn refused(args: &[&str]) -> String {
        let error = App::try_parse_from([&["app"], args].concat()).unwrap_err();
        assert!(error.use_stderr());
        one_line(&error)
    }

    #[test]
    fn flags_stand_beside_the_programs_own() {
        let app = parsed(&["--own", "x", "--bind", "127.0.0.1:0", "--bind=[::1]:0", "arg", "--workers", "3"]);
        assert_eq!((app.own.as_deref(), app.workers.as_deref()), (Some("x"), Some("arg")));
        let given: Vec<_> = app.server.given.iter().map(|given| (given.setting.name, given.values.len())).collect();
        assert_eq!(given, [("bind", 2), ("workers", 1)]);
        assert!(parsed(&[]).server.given.is_empty());
    }

    #[test]
    fn every_error_is_one_line() {
        let table = [
            (&["--no-such-flag"][..], "unexpected argument '--no-such-flag' found"),
            (
                &["--wrokers", "3"],
                "unexpected argument '--wrokers' found; tip: a similar argument exists: '--workers'; try '--help'",
            ),
            (&["--workers"], "a value is required for '--workers <N>' but none was supplied; try '--help'"),
            (
                &["--workers", "1", "--workers", "2"],
                "the argument '--workers <N>' cannot be used multiple times; try '--help'",
            ),
            (&["--workers", "many"], "--workers (command line): `many`: expected a whole number from 1 to 512"),
            (&["--umask", "8"], "--umask (command line): `8`: expected octal digits from `000` to `777`"),
            (&["--config", ""], "--config (command line): ``: expected a path"),
        ];
        for (args, expected) in table {
            let line = refused(args);
            assert!(line.starts_with(expected), "{args:?}: {line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }

    #[test]
    fn missing_arguments_are_one_line_as_well() {
        #[derive(Debug, Parser)]
        #[command(arg_required_else_help = true)]
        struct Needy {
            _one: String,
        }
        let error = Needy::try_parse_from(["needy"]).unwrap_err();
        assert!(error.use_stderr());
        assert_eq!(one_line(&error), "arguments are missing; try '--help'");
    }

    #[test]
    fn help_has_every_setting_under_its_heading() {
        let error = App::try_parse_from(["app", "--help"]).unwrap_err();
        assert!(!error.use_stderr());
        let help = error.render().to_string();
        let (_, server) = help.split_once("\nServer:\n").unwrap();
        for setting in TABLE {
            let flag = match setting.kind {
                Kind::Switch => format!("--{} [<{}>]", setting.name, setting.value),
                Kind::Text | Kind::Number | Kind::List | Kind::File => {
                    format!("--{} <{}>", setting.name, setting.value)
                }
            };
            assert!(server.contains(&flag), "{flag}");
        }
        assert!(server.contains("[default: 4096]") && server.contains("[default: number of CPUs]"));
        assert!(!App::try_parse_from(["app", "--version"]).unwrap_err().use_stderr());
    }

    #[test]
    fn a_switch_needs_no_value() {
        let app = parsed(&["--on-demand", "--balance", "off", "--daemonize=off"]);
        let given: Vec<_> = app.server.given.iter().map(|given| (given.setting.name, given.values.clone())).collect();
        let expected = [("balance", "off"), ("on-demand", "on"), ("daemonize", "off")];
        assert_eq!(given, expected.map(|(name, value)| (name, vec![OsString::from(value)])));
        assert!(
            refused(&["--daemonize", "yes"]).starts_with("--daemonize (command line): `yes`: expected `on` or `off`")
        );
    }

    #[test]
    fn a_later_command_line_replaces_what_it_names() {
        let mut app = parsed(&["--workers", "1", "--backlog", "7"]);
        app.update_from(["app", "--workers", "2"]);
        let values: Vec<_> = app.server.given.iter().map(|given| (given.setting.name, given.values.clone())).collect();
        assert_eq!(values, [("backlog", vec![OsString::from("7")]), ("workers", vec![OsString::from("2")])]);
    }
}
