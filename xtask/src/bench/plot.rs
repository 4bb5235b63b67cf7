//! Draws a column of a table as bars, in SVG.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// What is drawn: a table's place in what a benchmark printed, and one of its columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plot {
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) table: usize,
    pub(crate) column: usize,
}

/// Pixels.
const WIDTH: f64 = 800.0;
const LABELS: f64 = 400.0;
const ROW: f64 = 24.0;
const HEAD: f64 = 36.0;
/// Room for a number behind the longest bar.
const NUMBER: f64 = 60.0;

/// Where the plots are that the README shows.
const FOLDER: &str = "tests/bench/plots";

/// Writes the plots of what a benchmark printed.
pub(crate) fn write(workspace: &Workspace, printed: &str, plots: &[Plot]) -> Result<()> {
    let tables = tables(printed);
    let folder = workspace.root.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    for plot in plots {
        let table = tables
            .get(plot.table)
            .with_context(|| format!("find table {} in what was printed", plot.table))?;
        let path = folder.join(plot.file);
        fs::write(&path, bars(plot.title, &column(table, plot.column)))
            .with_context(|| format!("write {}", path.display()))?;
        println!("   {}", path.display());
    }
    Ok(())
}

/// The rows of each table, without its head.
fn tables(text: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables = Vec::new();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in text.lines().chain([""]) {
        match line
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'))
        {
            Some(cells) => {
                let cells = cells.split('|').map(|cell| cell.trim().replace("**", ""));
                rows.push(cells.collect());
            }
            None if rows.is_empty() => {}
            None => tables.push(rows.drain(..).skip(2).collect()),
        }
    }
    tables
}

fn column(table: &[Vec<String>], column: usize) -> Vec<(String, f64)> {
    let rows = table.iter().filter_map(|row| {
        let value = row.get(column)?.parse().ok()?;
        Some((row.first()?.replace('`', ""), value))
    });
    rows.collect()
}

fn bars(title: &str, values: &[(String, f64)]) -> String {
    let greatest = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let rows = u32::try_from(values.len()).map_or(0.0, f64::from);
    let height = HEAD + ROW * rows + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>{0}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"22\" font-weight=\"bold\">{0}</text>\n",
        escaped(title)
    );
    let mut top = HEAD;
    for (label, value) in values {
        let length = value / greatest * (WIDTH - LABELS - NUMBER);
        // Ours stand out.
        let colour = match label.contains("eni") {
            true => "#d9730d",
            false => "#9aa5b1",
        };
        let (middle, behind) = (top + 15.0, LABELS + length + 6.0);
        let _ = writeln!(
            svg,
            "<text x=\"{0}\" y=\"{middle}\" text-anchor=\"end\">{1}</text>\
             <rect x=\"{LABELS}\" y=\"{2}\" width=\"{length:.1}\" height=\"16\" fill=\"{colour}\"/>\
             <text x=\"{behind:.1}\" y=\"{middle}\">{value}</text>",
            LABELS - 8.0,
            escaped(label),
            top + 2.0,
        );
        top += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
said first
| a way | fast | × |
|---|---|---|
| **eniway** | 0.56 | 1.14 |
| a & b | 0.28 | - |

| other | ns |
|---|---|
| `x` | 7 |
";

    #[test]
    fn a_column_is_found_by_its_table() {
        let tables = tables(PRINTED);
        assert_eq!(tables.len(), 2);
        let expected = [("eniway".to_owned(), 0.56), ("a & b".to_owned(), 0.28)];
        assert_eq!(column(&tables[0], 1), expected);
        assert_eq!(
            column(&tables[0], 2).len(),
            1,
            "what is no number is left out"
        );
        assert_eq!(column(&tables[1], 1), [("x".to_owned(), 7.0)]);
    }

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        let svg = bars("frames & more", &column(&tables(PRINTED)[0], 1));
        assert!(svg.contains("<title>frames &amp; more</title>"));
        assert!(svg.contains("width=\"340.0\" height=\"16\" fill=\"#d9730d\""));
        assert!(svg.contains("width=\"170.0\" height=\"16\" fill=\"#9aa5b1\""));
        assert!(svg.contains(">a &amp; b</text>"));
    }
}
