//! Characters that people do not see.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Whether a character shows nothing, or has others shown elsewhere: two names that look the same
/// would differ by it (RFC 8264 §9.13).
#[must_use]
pub fn is_unseen(c: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Unassigned,
    };
    let category = c.general_category();
    let unseen = [
        Control,
        Format,
        LineSeparator,
        ParagraphSeparator,
        PrivateUse,
        Unassigned,
    ];
    // Letters and marks that are never shown (Default_Ignorable_Code_Point), and the empty Braille
    // pattern.
    let ignorable = matches!(
        c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'
            ..='\u{180f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'
            ..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}'
    );
    unseen.contains(&category) || ignorable
}
