//! Plain tables: a head line, columns as wide as their widest cell.

/// Rows of cells under a head. Cells may hold colour codes; they don't count as width.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self {
            rows: vec![head.map(str::to_owned).to_vec()],
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| width(cell))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, wide) in row.iter().zip(&widths) {
                line.push_str("  ");
                line.push_str(cell);
                line.push_str(&" ".repeat(wide - width(cell)));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Characters that take up room: all but `ESC [ … m`.
fn width(cell: &str) -> usize {
    let mut inside = false;
    cell.chars()
        .filter(|c| {
            let hidden = inside || *c == '\x1b';
            inside = hidden && *c != 'm';
            !hidden
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_colours() {
        let mut table = Table::new(["a", "b"]);
        table.row(["\x1b[32mlong\x1b[0m".to_owned(), "x".to_owned()]);
        table.row(["s".to_owned(), "y".to_owned()]);
        assert_eq!(
            table.render(),
            "  a     b\n  \x1b[32mlong\x1b[0m  x\n  s     y\n"
        );
    }
}
