std = 'luajit'
exclude_files = { 'bench/target' }
max_line_length = 110
files['spec'] = { std = '+busted' }
-- Inside Luvit a program finds its arguments there.
files['bin'] = { read_globals = { 'process' } }
files['examples'] = { read_globals = { 'process' } }
files['bench'] = { read_globals = { 'process' } }
files['spec/luvit'] = { read_globals = { 'process' } }
