"""The JSON Schemas of what mlxk prints, as files of the package."""
