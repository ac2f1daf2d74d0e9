//! Unix time as year, month, day, hour, minute, second in UTC.

/// A moment of the Gregorian calendar, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Date {
    /// Such as 2026.
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: u8,
    /// 1 to 31.
    pub(super) day: u8,
    /// 0 to 23.
    pub(super) hour: u8,
    /// 0 to 59.
    pub(super) minute: u8,
    /// 0 to 59; Unix time has no leap seconds.
    pub(super) second: u8,
}

const DAY: i64 = 24 * 60 * 60;

/// Days from 0000-03-01, where leap days end years and centuries, to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

const DAYS_IN_400_YEARS: i64 = 146_097;

impl Date {
    /// The moment `seconds` after 1970-01-01.
    pub(super) fn from_unix(seconds: i64) -> Self {
        let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let days = days + DAYS_TO_1970;
        let (era, day_of_era) = (
            days.div_euclid(DAYS_IN_400_YEARS),
            days.rem_euclid(DAYS_IN_400_YEARS),
        );
        // Take out the leap days before: every 4 years, not every 100, but every 400.
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Months from March on come in groups of 5 with 153 days.
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = match month_from_march {
            0..10 => month_from_march + 3,
            _ => month_from_march - 9,
        };
        // All but the year are small by construction.
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month: month as u8,
            day: day as u8,
            hour: (rest / 3600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
        }
    }
}
