//! Pieces of a page. The page is XHTML as well as HTML, so that a strict reader can check it.

use std::fmt::Write;

/// Longest text that a page shows of one value, in characters.
pub const TEXT_MAX: usize = 2_000;

/// Text for content and attributes, at most [`TEXT_MAX`] characters; what XML 1.0 does not allow becomes U+FFFD.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (count, c) in text.chars().enumerate() {
        if count == TEXT_MAX {
            out.push('…');
            break;
        }
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            // Marks that turn the writing direction would reorder what stands beside them.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

/// A table of two columns; nothing of nothing.
pub fn pairs(rows: &[(String, String, String)]) -> String {
    let mut out = String::from("<table>\n");
    for (name, value, meaning) in rows {
        let (name, value) = (escape(name), escape(value));
        let _ = write!(out, "<tr><th scope=\"row\">{name}</th><td>{value}</td>");
        if rows.iter().any(|row| !row.2.is_empty()) {
            let _ = write!(out, "<td class=\"meaning\">{}</td>", escape(meaning));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
    if rows.is_empty() { String::new() } else { out }
}

/// A section with a heading and a line that says what is seen; nothing of nothing.
pub fn section(heading: &str, lead: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    let lead = if lead.is_empty() { String::new() } else { format!("<p class=\"lead\">{}</p>\n", escape(lead)) };
    format!("<section>\n<h2>{}</h2>\n{lead}{body}</section>\n", escape(heading))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_is_left() {
        assert_eq!(escape("<a href='x'>&\"\u{202e}\0\n"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\u{fffd}\u{fffd} ");
        assert_eq!(escape(&"x".repeat(TEXT_MAX + 5)).chars().count(), TEXT_MAX + 1);
    }
}
