# What R prints for inference. Run by record.py: Rscript record_inference.R INPUTS.json OUT.json
# Needs R with the packages jsonlite and sandwich (Debian: r-base-core r-cran-jsonlite r-cran-sandwich).

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)))
source(file.path(here, "json_file.R"))
suppressPackageStartupMessages(library(sandwich))

arguments <- commandArgs(TRUE)
cases <- read_json_file(arguments[1])

fit_of <- function(frame, features, intercept, weights) {
  formula <- as.formula(paste("target ~", if (intercept) "" else "0 +", paste(features, collapse = " + ")))
  # lm looks weights up in the data.
  if (is.null(weights)) return(lm(formula, data = frame))
  frame$case_weights <- weights
  lm(formula, data = frame, weights = case_weights)
}

intervals_of <- function(fit, new, kind) {
  # R warns that intervals of a weighted fit assume constant variance of new rows; that is what is recorded.
  found <- suppressWarnings(predict(fit, newdata = new, interval = kind, level = 0.95))
  list(lower = array_of(found[, "lwr"]), upper = array_of(found[, "upr"]))
}

target_of <- function(case, k) {
  features <- setdiff(case$terms, "(intercept)")
  frame <- as.data.frame(matrix(case$x, ncol = length(features), dimnames = list(NULL, features)))
  frame$target <- case$y[, k]
  fit <- fit_of(frame, features, case$intercept, case$weights)
  s <- summary(fit)
  new <- as.data.frame(matrix(case$new_x, ncol = length(features), dimnames = list(NULL, features)))
  predicted <- predict(fit, newdata = new, se.fit = TRUE)
  f <- s$fstatistic
  out <- list(
    target = case$targets[k],
    coefficients = array_of(coef(fit)),
    std_errors = array_of(s$coefficients[, "Std. Error"]),
    t_values = array_of(s$coefficients[, "t value"]),
    p_values = array_of(s$coefficients[, "Pr(>|t|)"]),
    confidence_95 = unname(confint(fit, level = 0.95)),
    vcov = unname(vcov(fit)),
    residual_sd = s$sigma,
    df_residual = fit$df.residual,
    rank = fit$rank,
    r_squared = s$r.squared,
    adj_r_squared = s$adj.r.squared,
    f_value = unname(f["value"]),
    f_df = array_of(c(f["numdf"], f["dendf"])),
    f_p_value = unname(pf(f["value"], f["numdf"], f["dendf"], lower.tail = FALSE)),
    log_likelihood = as.numeric(logLik(fit)),
    log_likelihood_df = attr(logLik(fit), "df"),
    aic = AIC(fit),
    bic = BIC(fit),
    nobs = nobs(fit),
    deviance = deviance(fit),
    fitted = array_of(fitted(fit)),
    residuals = array_of(residuals(fit)),
    leverage = array_of(hatvalues(fit)),
    studentised_internal = array_of(rstandard(fit)),
    studentised_external = array_of(rstudent(fit)),
    cooks_distance = array_of(cooks.distance(fit)),
    condition_number = kappa(fit, exact = TRUE),
    predict = list(
      fit = array_of(predicted$fit),
      se_fit = array_of(predicted$se.fit),
      confidence_95 = intervals_of(fit, new, "confidence"),
      prediction_95 = intervals_of(fit, new, "prediction")
    )
  )
  # sandwich 3.0.2 counts rows of weight 0 in one place and not in another: nothing of it is recorded there.
  if (!any(case$weights == 0)) {
    out$sandwich_hc <- sapply(c("HC0", "HC1", "HC2", "HC3"), function(t) unname(vcovHC(fit, type = t)), simplify = FALSE)
  }
  if (!is.null(case$groups)) {
    out$sandwich_cl_hc1 <- unname(vcovCL(fit, cluster = case$groups, type = "HC1", cadjust = TRUE))
    out$sandwich_cl_hc0 <- unname(vcovCL(fit, cluster = case$groups, type = "HC0", cadjust = FALSE))
  }
  out
}

recorded <- lapply(cases, function(case) lapply(seq_along(case$targets), function(k) target_of(case, k)))
write_json_file(list(
  program = R.version.string,
  packages = list(sandwich = as.character(packageVersion("sandwich")), jsonlite = as.character(packageVersion("jsonlite"))),
  echo = lapply(cases, function(case) list(x = case$x, y = case$y)),
  cases = recorded
), arguments[2])
