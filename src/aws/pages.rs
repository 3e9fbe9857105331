//! Lists that come in pages, read to the end (G5).

use std::future::Future;

use super::failure::Failure;

/// The items of one page, and what asks for the next one.
pub type Page<T> = (Vec<T>, Option<String>);

/// The items of all pages; `None` where what is listed has gone meanwhile.
///
/// # Errors
/// The first page that cannot be read.
pub async fn all<T, R>(mut page: impl FnMut(Option<String>) -> R) -> Result<Option<Vec<T>>, Failure>
where
    R: Future<Output = Result<Option<Page<T>>, Failure>>,
{
    let mut all = Vec::new();
    let mut token = None;
    loop {
        let Some((items, next)) = page(token).await? else { return Ok(None) };
        all.extend(items);
        // Some emulators end a list with an empty token.
        token = next.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(Some(all));
        }
    }
}
