-- A C-FIND that would match more than LimitFindResults (LimitFindInstances at IMAGE level) fails, with the reason in the log.
--
-- Orthanc 1.12.7 does not apply these limits to C-FIND: it collects every answer in memory before it sends the first one. Cutting the list
-- would be worse than refusing it: a radiologist takes a list that ends with Success for the whole. So the matches are counted in the
-- index first (one SQL statement) and a search that is too wide gets a failure status. Local file: nothing here can be called from
-- outside, ExecuteLuaEnabled stays false.

local LEVELS = { PATIENT = 'Patient', STUDY = 'Study', SERIES = 'Series', IMAGE = 'Instance' }
local NO_CONSTRAINT = { ['0008,0005'] = true, ['0008,0052'] = true, ['0008,0201'] = true }

-- What is always in the index. Counting by these alone gives an upper bound where a query has other keys too.
local ALWAYS_COUNTABLE = {
   ['0008,0020'] = true, ['0008,0030'] = true, ['0008,0050'] = true, ['0010,0010'] = true, ['0010,0020'] = true,
   ['0010,0030'] = true, ['0020,000d'] = true, ['0020,000e'] = true, ['0008,0018'] = true
}

local function constraints(query, only)
   local result = {}
   for tag, value in pairs(query) do
      if type(value) == 'string' and value ~= '' and value ~= '*' and not NO_CONSTRAINT[tag] and (only == nil or only[tag]) then
         result[tag] = value
      end
   end
   return result
end

local function count(level, query)
   local body = '{"Level":"' .. level .. '","CaseSensitive":false,"Query":'
   if next(query) == nil then
      body = body .. '{}}'
   else
      body = body .. DumpJson(query, true) .. '}'
   end
   local answer = ParseJson(RestApiPost('/tools/count-resources', body, false))
   return answer and answer['Count']
end

local function countOrNil(level, query)
   local ok, number = pcall(count, level, query)
   if ok then
      return number
   end
end

function IncomingFindRequestFilter(query, origin)
   local level = LEVELS[query['0008,0052'] or '']
   local configuration = GetOrthancConfiguration()
   local limit = configuration[level == 'Instance' and 'LimitFindInstances' or 'LimitFindResults'] or 0
   if level ~= nil and limit > 0 then
      local matches = countOrNil(level, constraints(query)) or countOrNil(level, constraints(query, ALWAYS_COUNTABLE))
      if matches ~= nil and matches > limit then
         error('C-FIND of ' .. origin['RemoteAet'] .. ' refused: it matches ' .. matches .. ' at level ' .. level ..
               ', more than the limit of ' .. limit .. '. Narrow the search (date, patient).')
      end
   end
   return query
end
