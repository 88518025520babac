# What R's lm says to hard questions. Run by record.py: Rscript record_others.R INPUTS.json OUT.json
# Needs R with the package jsonlite (Debian: r-base-core r-cran-jsonlite).

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)))
source(file.path(here, "json_file.R"))

arguments <- commandArgs(TRUE)
cases <- read_json_file(arguments[1])

matrix_of <- function(rows, n) matrix(as.double(unlist(rows)), nrow = n)

answer_of <- function(case) {
  n <- nrow(case$y)
  Y <- case$y
  if (ncol(Y) == 1) Y <- Y[, 1]
  X <- if (length(case$x[[1]])) case$x else NULL
  formula <- if (is.null(X)) Y ~ 1 else if (case$intercept) Y ~ X else Y ~ 0 + X
  w <- case$weights
  fit <- tryCatch(
    if (is.null(w)) lm(formula) else lm(formula, weights = w),
    error = function(e) conditionMessage(e)
  )
  if (is.character(fit)) return(list(error = fit))
  coefficients <- as.matrix(coef(fit))
  list(
    rank = fit$rank,
    coefficients = unname(t(coefficients)),
    pivot = if (is.null(fit$qr)) NULL else array_of(fit$qr$pivot)
  )
}

write_json_file(list(
  program = R.version.string,
  packages = list(jsonlite = as.character(packageVersion("jsonlite"))),
  echo = lapply(cases, function(case) list(x = case$x, y = case$y)),
  cases = lapply(cases, answer_of)
), arguments[2])
