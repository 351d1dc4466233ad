"""The help screen's text."""

HELP = """\
Everywhere
  n        new analysis            f4       analyses started here
  f2       SQL                     f3       light or dark theme
  f6       calibrate a float model
  v        what was made last: a figure, an answer, an address
  ctrl+p   command palette: all that the screen can do, runs, queries, nodes
  j, k     down and up in a list   ?, f1    this help
  esc      back                    q        quit

Runs
  enter    open the run            /        filter as you type, esc clears
  c        mark, then c on another run compares the two
  y        copy the run id         i        inspect the model
  b        make it the baseline    t        give it another name
  e        write a note on it      u        open it in MLflow's web UI

Ranked nodes
  enter    look at the node        /        filter by name, op type, weight, activation
  s        rank by the next metric r        reverse the order
  t        all, node, weight, activation    w  measure the type that is missing
  p        the figure              y        copy the node's name
  g        as a tree by module     o        what the run found besides
  space    mark a node             m        mark by value, name, pattern or module path
  a        act on the marked: plan with or around them, raise, leave out, diagnose, mend,
           copy; with none marked: plan or mend the whole model
  x        each mark shows what the whole model would be with the marked in int16;
           x: in float32, x: no longer
  e, u     a note on the run, and the run in MLflow's web UI
  A click on a heading sorts by it. Left and right scroll the columns of any table.

One node
  enter, p the figure of the panel that has the focus (tab moves on)
  right, left   the next and the previous node of the ranking
  u, f     a node that feeds it, or that it feeds
  g        what is around it       t        its output, or one of its calibration nodes
  w        diagnose it: why it costs accuracy, and what mends it
  d        compute histograms      b        compute box plots of its channels
  e        compute the error curve h        open a run that measured it
  1 to 5   go to a panel
  w, d, b and e show the command first, which may be changed; enter starts it.

Runs of other kinds
  o        the other view of it    enter    the node; of a plan's frontier: take that step
  w        write a plan's models and files for toolchains

Two runs
  s        the next metric         o        order by difference or by node
  enter    the node in both runs   w        what else differs between the runs

SQL
  f5, ctrl+r  run                  f7, f8   older and newer statements
  esc      interrupt, or back
  ctrl+e   export to CSV           enter    on a shipped query or table: take it
  ctrl+n   complete a name         enter    on a row: all of it, its run, its node

Analyses that run, also those of other terminals
  x        cancel; what was measured is kept

Colours say how large the relative error is: red from 14 % (cosine similarity below 0.99, sqnr
below 17 dB, mre above 0.14), yellow from 4.5 % (0.999, 27 dB, 0.045). For mse and chebyshev, which
have no scale of their own: from half and a tenth of the worst node of the list.

  ✓ finished   ▶ running   ✗ failed   ■ killed
"""
