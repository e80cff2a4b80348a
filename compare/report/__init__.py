"""Findings -> figures and tables -> HTML and Markdown. Entry: `compare.report.build.build`.

Nothing here imports torch: a report is rebuilt from records alone (`python -m compare.report RUNS`).
"""
