//! A chapter of the guide, taken apart as far as tests look at it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sources::root;

/// A file of Markdown.
#[derive(Debug)]
pub struct Document {
    /// Where it is, from the project's folder.
    pub path: PathBuf,
    /// Its lines outside of code blocks.
    pub prose: Vec<String>,
    /// Its code blocks.
    pub blocks: Vec<Block>,
}

/// A code block.
#[derive(Debug)]
pub struct Block {
    /// What stands behind the fence: `rust,no_run`.
    pub kind: String,
    /// What it says.
    pub lines: Vec<String>,
    /// The heading that it stands under.
    pub section: String,
    /// The last line of the paragraph before it.
    pub before: String,
}

impl Block {
    fn after(prose: &[String], kind: &str) -> Self {
        let last = |is: fn(&&String) -> bool| prose.iter().rev().find(is).cloned().unwrap_or_default();
        let section = last(|line| line.starts_with('#'));
        let section = section.trim_start_matches(['#', ' ']).to_owned();
        Self { kind: kind.to_owned(), lines: Vec::new(), section, before: last(|line| !line.is_empty()) }
    }
}

impl Document {
    /// Reads one, by its path from the project's folder.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn read(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        let text = fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (mut prose, mut blocks, mut open) = (Vec::new(), Vec::new(), None::<Block>);
        for line in text.lines() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(kind), None) => open = Some(Block::after(&prose, kind)),
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.lines.push(line.to_owned()),
                (None, None) => prose.push(line.to_owned()),
            }
        }
        assert!(open.is_none(), "{}: a code block has no end", path.display());
        Self { path, prose, blocks }
    }

    /// The guide's chapters, the table of contents among them, and the front page.
    ///
    /// # Panics
    /// When there is no guide.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut names: Vec<_> = fs::read_dir(root().join("docs"))
            .expect("the guide")
            .map(|entry| Path::new("docs").join(entry.expect("an entry").file_name()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
            .chain([PathBuf::from("README.md")])
            .collect();
        names.sort();
        names.iter().map(Self::read).collect()
    }

    /// What stands between single backticks, or double ones.
    #[must_use]
    pub fn spans(&self) -> Vec<String> {
        self.prose.iter().flat_map(|line| spans(line)).collect()
    }

    /// Where its links lead: `signals.md#exit-codes`.
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let links = |line: &String| {
            let without = outside_of_spans(line);
            let ends = without.match_indices("](").map(|(at, found)| at + found.len());
            ends.filter_map(|at| Some(without[at..].split_once(')')?.0.to_owned())).collect::<Vec<_>>()
        };
        self.prose.iter().flat_map(links).collect()
    }

    /// The names by which its headings are linked to.
    #[must_use]
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose.iter().filter_map(|line| {
            let text = line.trim_start_matches('#');
            (text.len() < line.len()).then(|| text.strip_prefix(' ')).flatten()
        });
        headings.map(anchor).collect()
    }
}

/// The name of a heading, as mdBook and GitHub make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        _ if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// A line cut at its backticks: outside, inside, outside.
fn cut(line: &str) -> Vec<(bool, &str)> {
    let (mut parts, mut rest) = (Vec::new(), line);
    while let Some(begin) = rest.find('`') {
        let fence = rest[begin..].len() - rest[begin..].trim_start_matches('`').len();
        let Some(end) = rest[begin + fence..].find(&rest[begin..begin + fence]) else { break };
        parts.push((false, &rest[..begin]));
        parts.push((true, &rest[begin + fence..begin + fence + end]));
        rest = &rest[begin + fence + end + fence..];
    }
    parts.push((false, rest));
    parts
}

fn spans(line: &str) -> Vec<String> {
    cut(line).into_iter().filter(|(inside, _)| *inside).map(|(_, text)| text.trim().replace("\\|", "|")).collect()
}

fn outside_of_spans(line: &str) -> String {
    cut(line).into_iter().filter(|(inside, _)| !inside).map(|(_, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_the_anchors_of_mdbook() {
        assert_eq!(anchor("The `hatchery` command"), "the-hatchery-command");
        assert_eq!(anchor("Who serves, when somebody dies?"), "who-serves-when-somebody-dies");
    }

    #[test]
    fn code_is_told_from_prose() {
        assert_eq!(spans("one `two` ``three ` four`` five"), ["two", "three ` four"]);
        assert_eq!(outside_of_spans("one `](no)` [two](yes)"), "one  [two](yes)");
    }
}
