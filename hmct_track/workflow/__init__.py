"""An analysis from request to answer: plan, measure, record, ask, show, track."""
