//! A query of a client, as one SQL statement.
//!
//! Queries use keyset pagination: a page begins after the last row of the previous page. So a
//! late page costs as much as the first. The id is always the last sort key.

use sqlx::{PgConnection, Postgres, Row, postgres::PgArguments, query::Query as SqlQuery};
use uuid::Uuid;

use super::{
    filter::{self, Expression, Path},
    options::Options,
    order::{self, Keys},
    paging::Paging,
    select::{Select, parts},
    sql::{EntityTable, ExpressionTranslator, Instance, Parameter, Parameters, PropertyColumn},
    token::{self, Position},
};
use crate::{
    catalogue::version::Version,
    error::{ApiError, shorten},
};

/// A query on the rows of a table.
pub struct Query {
    table: &'static EntityTable,
    version: Version,
    options: Options,
    filter: Option<Expression>,
    order: Vec<(Path, bool)>,
    /// The selected members. `None` means all.
    pub select: Option<Select>,
    /// The query on the assignments of each row.
    pub expand: Option<Box<Self>>,
    /// Whether the answer has the number of all rows, independent of the page.
    pub count: bool,
    size: Option<u32>,
    skip: u32,
    after: Option<String>,
}

/// The only property that can be expanded.
const EXPANDABLE: &str = "assignments";

impl Query {
    /// Parses the options of a request for rows of `table`.
    ///
    /// # Errors
    /// 400 that names the option and the error in it.
    pub fn parse(
        options: Options,
        table: &'static EntityTable,
        query_scope: &QueryScope<'_>,
        version: Version,
    ) -> Result<Self, ApiError> {
        let in_option = |name: &'static str| move |refusal: ApiError| invalid(name, &refusal);
        let get = |name| options.get(name);
        let filter = get("filter").map(filter::parse).transpose().map_err(in_option("filter"))?;
        let order = get("orderby").map(order::parse).transpose().map_err(in_option("orderby"))?.unwrap_or_default();
        let select = get("select").map(|text| Select::parse(text, table, version));
        let expand = get("expand").map(|text| expand(text, table, version));
        let count = match get("count") {
            None => false,
            Some(text) => boolean("count", text)?,
        };
        let query = Self {
            table,
            version,
            filter,
            order,
            select: select.transpose().map_err(in_option("select"))?,
            expand: expand.transpose().map_err(in_option("expand"))?.map(Box::new),
            count,
            size: get("top").map(|text| number("top", text)).transpose()?,
            skip: get("skip").map(|text| number("skip", text)).transpose()?.unwrap_or(0),
            after: get("skiptoken").map(str::to_owned),
            options,
        };
        if query.after.is_some() && query.options.get("skip").is_some() {
            return Err(ApiError::bad_request(
                "The query options '$skip' and '$skiptoken' cannot be combined. Leave one of them out.",
            ));
        }
        // Build the statement now, so that a wrong query is refused before the request uses the
        // database.
        if !query.options.is_empty() || !query_scope.casts.is_empty() {
            query.statement(query_scope)?;
        }
        Ok(query)
    }

    /// Limits the size of the page by the settings of the service and the preference of the
    /// client.
    pub fn limit(&mut self, paging: &Paging) {
        self.size = Some(paging.size(self.size));
    }

    /// Returns whether a selected member is stored in the `jsonb` column.
    pub fn needs_properties(&self) -> bool {
        self.select.as_ref().is_none_or(|select| select.needs_properties(self.table))
    }

    /// Returns the size of a page when the query asks for all rows, sorted by id, without a
    /// count. Otherwise returns `None`.
    pub fn whole_set_page_size(&self) -> Option<u32> {
        let is_whole = self.filter.is_none() && self.after.is_none() && self.skip == 0;
        self.size.filter(|_| is_whole && self.order.is_empty() && !self.count)
    }

    /// Removes the extra row that shows that there is a next page. Returns the last remaining
    /// row, after which the next page begins, or `None` when there is no next page.
    pub fn truncate_to_page<'a, T>(&self, rows: &'a mut Vec<T>) -> Option<&'a T> {
        let size = self.size.map(|size| size as usize).filter(|size| rows.len() > *size)?;
        rows.truncate(size);
        rows.last()
    }

    /// Returns the part of `@odata.context` that lists the members.
    pub fn context_fragment(&self) -> String {
        let selected = self.select.as_ref().map(|select| select.fragment(self.table, self.expand.is_some()));
        let expanded = self.expand.as_ref().map(|expand| {
            let nested = expand.select.as_ref().map(|select| select.fragment(expand.table, false)).unwrap_or_default();
            format!("{EXPANDABLE}({nested})")
        });
        let parts: Vec<_> = selected.into_iter().filter(|part| !part.is_empty()).chain(expanded).collect();
        if parts.is_empty() { String::new() } else { format!("({})", parts.join(",")) }
    }

    /// Returns the number of all rows when the client asked for it. `counted` is the number
    /// from a row of the page, if there is one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_rows(
        &self,
        connection: &mut PgConnection,
        query_scope: &QueryScope<'_>,
        counted: Option<i64>,
    ) -> Result<Option<i64>, ApiError> {
        match (self.count, counted) {
            (false, _) => Ok(None),
            (true, Some(counted)) => Ok(Some(counted)),
            (true, None) => self.total(connection, query_scope).await.map(Some),
        }
    }

    /// Counts all rows.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn total(&self, connection: &mut PgConnection, query_scope: &QueryScope<'_>) -> Result<i64, ApiError> {
        let mut parameters = Parameters::default();
        let text = self.count_statement(query_scope, &mut parameters)?;
        Ok(parameters.statement(text).fetch_one(connection).await?.try_get(0)?)
    }

    /// Returns the statement for the rows of a page, and one more row if there is a next page.
    ///
    /// # Errors
    /// 400 for a token that belongs to another query.
    pub fn page_statement(
        &self,
        query_scope: &QueryScope<'_>,
    ) -> Result<SqlQuery<'static, Postgres, PgArguments>, ApiError> {
        self.statement(query_scope).map(|(parameters, text)| parameters.statement(text))
    }

    /// Converts an error of the statement. A data error under a `$skiptoken` means that the
    /// client has made up its values.
    pub fn refusal(&self, error: sqlx::Error) -> ApiError {
        let is_data =
            error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code.starts_with("22"));
        if is_data && self.after.is_some() { token::foreign() } else { error.into() }
    }

    fn count_statement(&self, query_scope: &QueryScope<'_>, parameters: &mut Parameters) -> Result<String, ApiError> {
        let mut translator = self.translator(query_scope, parameters)?;
        let condition = self.condition(query_scope, &mut translator)?;
        Ok(format!("SELECT count(*) FROM {} WHERE {condition}", self.table.from()))
    }

    /// Returns the text of the statement for a page.
    ///
    /// # Errors
    /// Those of [`Query::page_statement`].
    pub fn text(&self, query_scope: &QueryScope<'_>) -> Result<String, ApiError> {
        self.statement(query_scope).map(|(_, text)| text)
    }

    /// Returns a statement that explains how PostgreSQL would find the rows of a page, one line
    /// for each row.
    ///
    /// # Errors
    /// Those of [`Query::page_statement`].
    pub fn plan(&self, query_scope: &QueryScope<'_>) -> Result<SqlQuery<'static, Postgres, PgArguments>, ApiError> {
        self.statement(query_scope).map(|(parameters, text)| parameters.statement(format!("EXPLAIN {text}")))
    }

    fn translator<'a>(
        &self,
        query_scope: &QueryScope<'_>,
        parameters: &'a mut Parameters,
    ) -> Result<ExpressionTranslator<'a>, ApiError> {
        let mut root = Instance::row(self.table, self.table.alias)?;
        for cast in query_scope.casts {
            root = root.cast(cast, self.version, parameters)?;
        }
        Ok(ExpressionTranslator::new(root, self.version, parameters))
    }

    fn condition(
        &self,
        query_scope: &QueryScope<'_>,
        translator: &mut ExpressionTranslator<'_>,
    ) -> Result<String, ApiError> {
        let mut conditions: Vec<_> = translator.root_guard().into_iter().collect();
        if let Some((column, id)) = query_scope.parent {
            conditions.push(format!("{column} = {}", translator.parameters.add(Parameter::Id(id))));
        }
        conditions.extend(query_scope.join.map(str::to_owned));
        if let Some(filter) = &self.filter {
            conditions.push(translator.condition(filter).map_err(|refusal| invalid("filter", &refusal))?);
        }
        Ok(if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") })
    }

    fn statement(&self, query_scope: &QueryScope<'_>) -> Result<(Parameters, String), ApiError> {
        let mut parameters = Parameters::default();
        let text = self.page(query_scope, &mut parameters)?;
        let mut columns = self.expanded(&mut parameters)?;
        if self.count {
            // Count in the same statement, so that the number fits the page.
            columns += &format!(", ({}) AS total", self.count_statement(query_scope, &mut parameters)?);
        }
        if let (Some(digest), Some((_, id))) = (self.table.digest, query_scope.parent) {
            // Read the digest in the same statement, so that it fits the page.
            columns += &format!(", ({}) AS digest", digest.replace('%', &parameters.add(Parameter::Id(id))));
        }
        let alias = self.table.alias;
        let text = match columns.is_empty() {
            true => text,
            false => format!("SELECT {alias}.*{columns} FROM ({text}) AS {alias}"),
        };
        Ok((parameters, text))
    }

    /// Returns the text that selects the rows of a page in their order.
    fn page(&self, query_scope: &QueryScope<'_>, parameters: &mut Parameters) -> Result<String, ApiError> {
        let mut translator = self.translator(query_scope, parameters)?;
        let mut condition = self.condition(query_scope, &mut translator)?;
        let keys = self.keys(&mut translator)?;
        if let Some(token) = &self.after {
            let after = Position::read(token, &self.identity(query_scope))?;
            condition = format!("{condition} AND {}", keys.after(&after, translator.parameters)?);
        }
        let row = if self.needs_properties() { self.table.row } else { self.table.row_without_properties };
        let mut text = format!(
            "SELECT {row}, {} AS position FROM {} WHERE {condition} ORDER BY {}",
            keys.position(),
            self.table.from(),
            keys.order()
        );
        if let Some(size) = self.size {
            let limit = translator.parameters.add(Parameter::Whole(i64::from(size) + 1));
            text += &format!(" LIMIT {limit}");
        }
        if self.skip > 0 {
            let skip = translator.parameters.add(Parameter::Whole(self.skip.into()));
            text += &format!(" OFFSET {skip}");
        }
        Ok(text)
    }

    /// Returns the columns of the expanded rows: an array of records, and their number.
    fn expanded(&self, parameters: &mut Parameters) -> Result<String, ApiError> {
        let Some(expand) = &self.expand else { return Ok(String::new()) };
        let Some((_, PropertyColumn::Rows(table, join))) =
            self.table.columns.iter().find(|(name, _)| *name == EXPANDABLE)
        else {
            return Ok(String::new());
        };
        let join = join.replace('%', table.alias);
        let query_scope = QueryScope { join: Some(&join), ..QueryScope::all() };
        let page = expand.page(&query_scope, parameters)?;
        let record = if self.version.is_beta() { table.beta_record } else { table.record };
        let row = format!("SELECT ROW({record}) FROM ({page}) AS {}", table.alias);
        let mut columns = format!(", ARRAY({row}) AS expanded");
        if expand.count {
            columns += &format!(", ({}) AS expanded_count", expand.count_statement(&query_scope, parameters)?);
        }
        Ok(columns)
    }

    fn keys(&self, translator: &mut ExpressionTranslator<'_>) -> Result<Keys, ApiError> {
        let order = self.order.iter().map(|(path, is_descending)| {
            let operand = translator.sort_key(path).map_err(|refusal| invalid("orderby", &refusal))?;
            Ok((operand, *is_descending))
        });
        Ok(Keys { order: order.collect::<Result<_, ApiError>>()?, id: format!("{}.id", self.table.alias) })
    }

    /// Returns a text that identifies the query. A token is valid only for the same text.
    fn identity(&self, query_scope: &QueryScope<'_>) -> String {
        let mut options: Vec<_> = self.options.without_position().collect();
        options.sort_unstable();
        format!("{:?} {} {:?} {:?} {options:?}", self.version, self.table.of, query_scope.parent, query_scope.casts)
    }

    /// Returns the query string of the next link, for the page after the row `last`.
    pub fn next(&self, query_scope: &QueryScope<'_>, last: &Position) -> String {
        self.options.next(&last.token(&self.identity(query_scope)))
    }
}

/// The rows of a table that a query may see.
#[derive(Clone, Copy)]
pub struct QueryScope<'a> {
    /// Only the rows of one parent: the column and its value.
    pub parent: Option<(&'static str, Uuid)>,
    /// A condition that joins the rows to those of a surrounding statement.
    pub join: Option<&'a str>,
    /// The types that the rows must have.
    pub casts: &'a [String],
}

impl QueryScope<'_> {
    /// Returns the scope of all rows.
    pub fn all() -> Self {
        Self { parent: None, join: None, casts: &[] }
    }
}

/// Adds the name of the option to an error message.
fn invalid(name: &str, refusal: &ApiError) -> ApiError {
    ApiError::bad_request(format!("Invalid '${name}': {refusal}"))
}

/// Parses a Boolean value of an option. Letter case does not count.
fn boolean(name: &str, text: &str) -> Result<bool, ApiError> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Ok(true),
        _ if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(ApiError::bad_request(format!("The value of '${name}' is not a Boolean. Write true or false."))),
    }
}

/// Parses a number of rows. A number that is too large for the type counts as the largest.
fn number(name: &str, text: &str) -> Result<u32, ApiError> {
    let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let number = if is_number { Some(text.parse().unwrap_or(u32::MAX)) } else { None };
    number.ok_or_else(|| {
        ApiError::bad_request(format!(
            "The value of '${name}' is not a whole number. Write 0 or a larger whole number."
        ))
    })
}

/// Parses `$expand`.
fn expand(text: &str, table: &'static EntityTable, version: Version) -> Result<Query, ApiError> {
    let text = text.trim();
    let (name, nested) = match text.split_once('(') {
        Some((name, rest)) => match rest.trim_end().strip_suffix(')') {
            Some(nested) => (name, nested),
            None => {
                return Err(ApiError::bad_request(
                    "the options of '$expand' have no closing parenthesis. Write one property, with its options in parentheses.",
                ));
            }
        },
        None => (text, ""),
    };
    let to = table.columns.iter().find_map(|(known, column)| match column {
        PropertyColumn::Rows(to, _) if known.eq_ignore_ascii_case(name.trim()) => Some(*to),
        _ => None,
    });
    let Some(to) = to else {
        return Err(ApiError::bad_request(format!("'{}' cannot be expanded. Only '{EXPANDABLE}' can.", shorten(name))));
    };
    let mut options = Options::default();
    for option in parts(nested, ';').filter(|option| !option.trim().is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let plain = name.trim().trim_start_matches('$');
        let supported = ["count", "filter", "orderby", "select", "top"];
        match supported.into_iter().find(|known| known.eq_ignore_ascii_case(plain)) {
            Some(name) => options.add(name, value.trim().to_owned())?,
            None => {
                return Err(ApiError::bad_request(format!(
                    "the option '{}' is not supported in '$expand'. Supported are $select, $filter, $orderby, $top and $count.",
                    shorten(name.trim())
                )));
            }
        }
    }
    Query::parse(options, to, &QueryScope::all(), version)
}
