"""The mathematics: datasets in, solutions out. Knows nothing of HTTP, queues or databases.

Conventions, fixed for every module below
-----------------------------------------
X (n, p) features, Y (n, q) targets, both float64; a 1-d target is (n, 1) before it gets here.
A = [1 X] is the design (n, m), m = p + 1 with an intercept and m = p without one.
Parameters are one matrix (m, q): the intercept's row first where there is one, then the features'.
"User's units" are those of the dataset; "descent's units" are those after scaling.
"""
