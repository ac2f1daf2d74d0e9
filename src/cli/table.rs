//! Plain tables: a head line, columns as wide as their widest cell, the last one broken between words.

use crate::paragraph::{Paragraph, hanging, shortened, width};

/// Between two columns, and before the first one.
const GAP: usize = 2;

/// The last column is not broken into narrower ones than this.
const LAST_MIN_COLUMNS: usize = 24;

/// Shortened cells are not shortened below this.
const SHORTENED_MIN_COLUMNS: usize = 6;

/// Rows of cells under a head. Cells may hold colour codes; they don't count as width.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<T: Into<String>>(head: impl IntoIterator<Item = T>) -> Self {
        Self {
            rows: vec![head.into_iter().map(Into::into).collect()],
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Takes the middle out of cells of `shrinking` columns, of the widest first, until lines of
    /// `columns` columns hold all of them, or there is little left.
    pub(super) fn shorten(&mut self, shrinking: &[usize], columns: usize) {
        loop {
            let widths = self.widths();
            let all: usize = widths.iter().map(|wide| GAP + wide).sum();
            let widest = shrinking
                .iter()
                .copied()
                .max_by_key(|column| widths[*column]);
            let Some(column) = widest.filter(|column| widths[*column] > SHORTENED_MIN_COLUMNS)
            else {
                return;
            };
            if all <= columns {
                return;
            }
            for cell in self.rows.iter_mut().filter_map(|row| row.get_mut(column)) {
                *cell = shortened(cell, widths[column] - 1);
            }
        }
    }

    /// The table in lines of at most `columns` columns. One whose columns don't fit beside each other
    /// has its cells below each other, and no head.
    pub(super) fn render(&self, columns: usize) -> String {
        let widths = self.widths();
        let Some((last, before)) = widths.split_last() else {
            return String::new();
        };
        let start = before.iter().map(|wide| GAP + wide).sum::<usize>() + GAP;
        let is_narrow = start + LAST_MIN_COLUMNS.min(*last) > columns;
        // What can't be broken, such as a path, is not pushed over the edge.
        let in_last = self.rows.iter().filter_map(|row| row.get(before.len()));
        let longest = in_last.flat_map(|cell| cell.split_ascii_whitespace());
        let is_broken = longest.map(width).max().unwrap_or(0) + start > columns;
        if is_narrow || is_broken {
            return self.stacked(columns);
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, wide) in row.iter().zip(before) {
                line.push_str(&" ".repeat(GAP));
                line.push_str(cell);
                line.push_str(&" ".repeat(wide - width(cell)));
            }
            line.push_str(&" ".repeat(GAP));
            let cell = row.get(before.len()).map_or("", String::as_str);
            match cell.is_empty() {
                true => text += line.trim_end(),
                false => text += hanging(&line, cell, columns).trim_end(),
            }
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column| self.rows.iter().filter_map(move |row| row.get(column));
        (0..columns)
            .map(|column| cells(column).map(|cell| width(cell)).max().unwrap_or(0))
            .collect()
    }

    /// The first cell of each row, unless it is that of the row before, and the others below it: beside
    /// each other if they fit.
    fn stacked(&self, columns: usize) -> String {
        let mut text = String::new();
        let mut before: Option<&String> = None;
        for row in self.rows.iter().skip(1) {
            let Some((first, rest)) = row.split_first() else {
                continue;
            };
            if before.replace(first) != Some(first) {
                text += &hanging("  ", first, columns);
            }
            let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
            let rest: Vec<&str> = rest.into_iter().filter(|cell| !cell.is_empty()).collect();
            let line = format!("    {}", rest.join("  "));
            if width(&line) <= columns {
                text += &format!("{}\n", line.trim_end());
                continue;
            }
            for cell in rest {
                let paragraph = Paragraph {
                    first: "    ",
                    rest: "      ",
                    columns,
                };
                text += &paragraph.of(cell);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[[&str; 2]]) -> Table {
        let mut table = Table::new(["A", "B"]);
        for row in rows {
            table.row(row.map(str::to_owned));
        }
        table
    }

    #[test]
    fn columns_line_up_whatever_the_colours() {
        let table = table(&[["\x1b[32mlong\x1b[0m", "x"], ["s", "y"]]);
        assert_eq!(
            table.render(80),
            "  A     B\n  \x1b[32mlong\x1b[0m  x\n  s     y\n"
        );
    }

    #[test]
    fn the_last_column_breaks_between_words() {
        let table = table(&[["one", "a sentence that goes on and on"], ["two", ""]]);
        assert_eq!(
            table.render(35),
            "  A    B\n  one  a sentence that goes on and\n       on\n  two\n"
        );
    }

    #[test]
    fn what_does_not_fit_is_below_each_other() {
        let path = "a/path/that/is/as/long/as/the/screen";
        let table = table(&[["one", path], ["one", "b"], ["two", "c"]]);
        let expected = format!("  one\n    {path}\n    b\n  two\n    c\n");
        assert_eq!(table.render(40), expected);
    }
}
