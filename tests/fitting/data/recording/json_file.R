# JSON in and out of R at full precision. jsonlite reads numbers with strtod, correctly rounded; it does not write 17
# digits, so writing is done here: NA and NaN as null, infinities as the strings "Infinity" and "-Infinity".

suppressPackageStartupMessages(library(jsonlite))

read_json_file <- function(path) fromJSON(path, simplifyVector = TRUE, simplifyDataFrame = FALSE)

number_text <- function(v) {
  ifelse(is.na(v), "null", ifelse(v == Inf, '"Infinity"', ifelse(v == -Inf, '"-Infinity"', sprintf("%.17g", v))))
}

json_text <- function(v) {
  if (is.null(v)) return("null")
  if (is.list(v)) {
    items <- vapply(v, json_text, "")
    if (is.null(names(v))) return(paste0("[", paste(items, collapse = ","), "]"))
    keys <- vapply(names(v), function(k) as.character(toJSON(unbox(k))), "")
    return(paste0("{", paste(paste0(keys, ":", items), collapse = ","), "}"))
  }
  if (is.matrix(v)) {
    rows <- if (nrow(v)) vapply(seq_len(nrow(v)), function(i) json_text(array_of(v[i, ])), "") else character(0)
    return(paste0("[", paste(rows, collapse = ","), "]"))
  }
  items <- if (is.character(v)) vapply(v, function(s) as.character(toJSON(unbox(s))), "")
           else if (is.logical(v)) ifelse(is.na(v), "null", ifelse(v, "true", "false"))
           else number_text(as.double(v))
  if (inherits(v, "json_array") || length(v) != 1) paste0("[", paste(items, collapse = ","), "]") else items
}

# A vector that stays an array when it has one entry.
array_of <- function(v) structure(unname(as.vector(v)), class = "json_array")

write_json_file <- function(v, path) writeLines(json_text(v), path)
