//! Text in columns.

/// To which side a column leans.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Text in columns, each as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [(&'static str, Side); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(columns: [(&'static str, Side); N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| cell.chars().filter(|letter| !letter.is_control()).collect()));
    }

    /// The lines, the names of the columns first.
    pub(crate) fn lines(&self) -> String {
        let names = self.columns.map(|(name, _)| name.to_owned());
        let width = |cell: &String| cell.chars().count();
        let rows = || std::iter::once(&names).chain(&self.rows);
        let widths: [usize; N] = std::array::from_fn(|at| rows().map(|row| width(&row[at])).max().unwrap_or(0));
        let mut text = String::new();
        for row in rows() {
            let cells = row.iter().zip(self.columns).zip(widths).map(|((cell, (_, side)), width)| match side {
                Side::Left => format!("{cell:<width$}"),
                Side::Right => format!("{cell:>width$}"),
            });
            text += cells.collect::<Vec<_>>().join("  ").trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let mut table = Table::new([("NAME", Side::Left), ("N", Side::Right), ("LAST", Side::Left)]);
        table.row(["ä\x1b".to_owned(), "100".to_owned(), "x".to_owned()]);
        table.row(["longer".to_owned(), "7".to_owned(), String::new()]);
        assert_eq!(table.lines(), "NAME      N  LAST\nä       100  x\nlonger    7\n");
    }
}
