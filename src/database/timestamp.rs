//! A `timestamptz` value. Reading it never fails: a time out of range becomes the nearest time in range.

use std::ops::Deref;

use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef},
};
use time::{Duration, OffsetDateTime, macros::datetime};

/// A point in time of a `timestamptz` column, between the years 1 and 9999.
///
/// PostgreSQL also stores `infinity`, and years that RFC 3339 cannot express. They are read as
/// the nearest time that RFC 3339 can express.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    time: OffsetDateTime,
    /// Whether the column holds a time out of range, so that this is the nearest time in range.
    pub is_clamped: bool,
}

/// PostgreSQL counts microseconds from this time.
const EPOCH: OffsetDateTime = datetime!(2000-01-01 00:00 UTC);
/// The earliest time that RFC 3339 can express in a year that .NET and JavaScript can read.
pub const MIN: OffsetDateTime = datetime!(0001-01-01 00:00 UTC);
/// The latest time that RFC 3339 can express, in PostgreSQL's precision.
pub const MAX: OffsetDateTime = datetime!(9999-12-31 23:59:59.999999 UTC);

impl Timestamp {
    /// Returns the time that is `micros` microseconds after [`EPOCH`].
    fn from_micros(micros: i64) -> Self {
        let nearest = if micros < 0 { MIN } else { MAX };
        match EPOCH.checked_add(Duration::microseconds(micros)).filter(|time| (MIN..=MAX).contains(time)) {
            Some(time) => Self { time, is_clamped: false },
            None => Self { time: nearest, is_clamped: true },
        }
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        Self { time, is_clamped: false }
    }
}

impl Deref for Timestamp {
    type Target = OffsetDateTime;

    fn deref(&self) -> &OffsetDateTime {
        &self.time
    }
}

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        <OffsetDateTime as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Timestamp {
    fn array_type_info() -> PgTypeInfo {
        <OffsetDateTime as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&self.time, buffer)
    }
}

impl Decode<'_, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => <i64 as Decode<Postgres>>::decode(value).map(Self::from_micros),
            // The service requests every value in the binary format.
            PgValueFormat::Text => Err("a time in the text form".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_is_a_time_that_can_be_written(micros in any::<i64>()) {
            let read = Timestamp::from_micros(micros);
            prop_assert!((MIN..=MAX).contains(&*read));
            prop_assert!(read.format(&time::format_description::well_known::Rfc3339).is_ok());
            prop_assert_eq!(read.is_clamped, EPOCH.checked_add(Duration::microseconds(micros)) != Some(*read));
        }
    }

    #[test]
    fn infinite_times_are_the_ends_of_the_range() {
        assert_eq!(Timestamp::from_micros(i64::MAX), Timestamp { time: MAX, is_clamped: true });
        assert_eq!(Timestamp::from_micros(i64::MIN), Timestamp { time: MIN, is_clamped: true });
        assert_eq!(Timestamp::from_micros(0), EPOCH.into());
    }
}
