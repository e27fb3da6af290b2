//! What the command says of itself, for shells and for `man`.

use clap::{Arg, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Args;
use crate::failure::Failure;
use crate::output;

/// What clap does not know of.
const EXIT_STATUS: &str = ".SH EXIT STATUS
.TP
0
it was done
.TP
1
it was not, for the reason that is said in one line on standard error
.TP
130
interrupted: what was begun goes on
";

/// Prints completions for a shell.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "hatchery", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Fish {
        script.extend(Args::command().get_subcommands().map(words_for_fish));
    }
    output::print(&script)
}

/// What a command takes that is one of a few words: for fish, clap leaves that out.
fn words_for_fish(command: &clap::Command) -> String {
    let words = command.get_positionals().flat_map(Arg::get_possible_values);
    let words: Vec<String> = words.map(|word| word.get_name().to_owned()).collect();
    if words.is_empty() {
        return String::new();
    }
    let condition = format!("__fish_hatchery_using_subcommand {}", command.get_name());
    format!("complete -c hatchery -n \"{condition}\" -f -a \"{}\"\n", words.join(" "))
}

/// Prints the manual page.
pub(crate) fn manual() -> Result<(), Failure> {
    output::print(&page()?)
}

/// One page, with everything that the subcommands take.
fn page() -> Result<String, Failure> {
    let failed = |source| Failure::Output { what: "cannot write the manual page", source };
    let command = Args::command();
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page).map_err(failed)?;
    man.render_name_section(&mut page).map_err(failed)?;
    man.render_synopsis_section(&mut page).map_err(failed)?;
    man.render_description_section(&mut page).map_err(failed)?;
    man.render_options_section(&mut page).map_err(failed)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    page += ".SH COMMANDS\n";
    page.extend(command.get_subcommands().map(subcommand));
    page += EXIT_STATUS;
    Ok(page)
}

fn subcommand(command: &clap::Command) -> String {
    let own = || command.get_arguments().filter(|arg| !arg.is_global_set());
    let names: Vec<String> =
        own().map(|arg| if arg.is_positional() { value(arg) } else { format!("[{}]", flag(arg)) }).collect();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut text = format!(".SS {} {}\n{}\n", command.get_name(), escaped(&names.join(" ")), escaped(&about));
    for arg in own() {
        let name = if arg.is_positional() { value(arg) } else { flag(arg) };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        text += &format!(".TP\n{}\n{}\n", escaped(&name), escaped(&help));
    }
    text
}

fn flag(arg: &Arg) -> String {
    let name = arg.get_long().unwrap_or_default();
    if arg.get_action().takes_values() { format!("--{name} {}", value(arg)) } else { format!("--{name}") }
}

fn value(arg: &Arg) -> String {
    arg.get_value_names()
        .and_then(<[_]>::first)
        .map_or_else(|| arg.get_id().as_str().to_uppercase(), ToString::to_string)
}

/// As roff(7) reads it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_command_and_flag() {
        let page = page().unwrap();
        for part in [".TH hatchery 1", ".SS scale N [\\-\\-no\\-wait]", "\\-\\-interval DUR", "HATCHERY_CONTROL", "130"]
        {
            assert!(page.contains(part), "{part}:\n{page}");
        }
        for command in Args::command().get_subcommands() {
            assert!(page.contains(&format!(".SS {} ", command.get_name())), "{}", command.get_name());
        }
    }
}
