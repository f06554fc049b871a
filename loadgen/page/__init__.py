"""What the report's page is made of: our markup, style, script, and uPlot 1.6.32 (MIT) as its authors ship it."""
