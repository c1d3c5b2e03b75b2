std = 'luajit'
max_line_length = 110
files['spec'] = { std = '+busted' }
-- Inside Luvit an example finds its arguments there.
files['examples'] = { read_globals = { 'process' } }
