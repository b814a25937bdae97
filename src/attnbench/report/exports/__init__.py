"""A run's answers, tables and figures in the formats of papers, spreadsheets and pandas.

In reading order: ``rows`` (every cell as numbers, with its standing), ``comma`` (CSV), ``workbook`` (Excel), ``latex``
(tables in booktabs form), ``pictures`` (figures as SVG, PNG and PDF), ``export`` (which of them is asked for). What is
said is what the page says: the same rows in the same order, ratios and ties from the same code.
"""
